# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Forms of memories, FIFOs and products in Verilog, and what the rules say of each."""

from __future__ import annotations

from dataclasses import dataclass

from m3vit_pynq.analysis import resources_rules as rules


@dataclass(frozen=True)
class Form:
    """One module with a clock `c` and every other bit in `i` and `o`.

    Attributes
    ----------
    name, text : str
        The module and its Verilog.
    inputs, outputs : int
        Bits of `i` and `o`.
    resource : str
        What the rule counts: ``dsp``, ``bram36``, ``uram`` or ``lut``.
    rule : dict of str to float
        What it says, by family.
    exact : bool
        Whether yosys has to agree; otherwise the rule must not be below it, or for LUT
        not far from it.
    """

    name: str
    text: str
    inputs: int
    outputs: int
    resource: str
    rule: dict[str, float]
    exact: bool = True


FAMILIES = ("zynqmp", "zynq")


def _module(name: str, inputs: int, outputs: int, body: str) -> str:
    return (
        f"module {name}(input c, input [{inputs - 1}:0] i, output [{outputs - 1}:0] o);\n"
        f"{body}\nendmodule\n"
    )


def _both(number: float) -> dict[str, float]:
    return dict.fromkeys(FAMILIES, number)


def memory(bits: int, depth: int, style: str, two: bool = False, exact: bool = True) -> Form:
    """A memory with a write and a read port; with `two`, a second read beside the write."""
    wide = max(1, (depth - 1).bit_length())
    name = f"{style}_{bits}x{depth}" + ("_two" if two else "")
    ports = 2 * wide + bits + 1
    second = f"reg [{bits - 1}:0] q; always @(posedge c) q <= m[wa];" if two else ""
    body = (
        f'(* ram_style = "{style}" *) reg [{bits - 1}:0] m [0:{depth - 1}];\n'
        f"wire [{wide - 1}:0] wa = i[{wide - 1}:0], ra = i[{2 * wide - 1}:{wide}];\n"
        f"wire [{bits - 1}:0] d = i[{2 * wide + bits - 1}:{2 * wide}];\n"
        f"wire we = i[{ports - 1}]; reg [{bits - 1}:0] r;\n"
        f"always @(posedge c) begin if (we) m[wa] <= d; r <= m[ra]; end\n{second}\n"
        f"assign o = {'{q, r}' if two else 'r'};"
    )
    if style == "block":
        resource, rule = "bram36", _both(rules.bram(bits, depth, "ram_t2p" if two else "ram_s2p"))
    elif style == "ultra":
        resource, rule = "uram", {"zynqmp": rules.uram(bits, depth)}
    else:
        resource = "lut"
        rule = {family: rules.lutram(bits, depth, family) for family in FAMILIES}
    outputs = bits * (2 if two else 1)
    return Form(name, _module(name, ports, outputs, body), ports, outputs, resource, rule, exact)


def table(bits: int, depth: int, style: str) -> Form:
    """A constant array with one read port."""
    wide = (depth - 1).bit_length()
    name = f"rom_{style}_{bits}x{depth}"
    kind = "block" if style == "block" else "logic"
    values = "".join(
        f"m[{k}] = {bits}'d{(k * 2654435761 >> 7) % (1 << bits)};" for k in range(depth)
    )
    body = (
        f'(* ram_style = "{kind}" *) reg [{bits - 1}:0] m '
        f"[0:{depth - 1}]; initial begin {values} end\n"
        f"reg [{bits - 1}:0] r; always @(posedge c) r <= m[i]; assign o = r;"
    )
    if style == "block":
        resource, rule = "bram36", _both(rules.bram(bits, depth, "ram_t2p"))
    else:
        resource, rule = "lut", _both(rules.rom(bits, depth))
    return Form(name, _module(name, wide, bits, body), wide, bits, resource, rule, style == "block")


def queue(bits: int, depth: int) -> Form:
    """Shift registers with an address, as in a FIFO."""
    wide = (depth - 1).bit_length()
    name = f"srl_{bits}x{depth}"
    lines = [f"wire e = i[{bits + wide}]; wire [{wide - 1}:0] at = i[{bits + wide - 1}:{bits}];"]
    for k in range(bits):
        lines.append(
            f"reg [{depth - 1}:0] s{k}; always @(posedge c) if (e) s{k} <= "
            f"{{s{k}[{depth - 2}:0], i[{k}]}}; assign o[{k}] = s{k}[at];"
        )
    inputs = bits + wide + 1
    rule = _both(rules.shift_register(bits, depth))
    text = _module(name, inputs, bits, "\n".join(lines))
    return Form(name, text, inputs, bits, "lut", rule, False)


def product(first: int, second: int, bits: int = 0, chain: int = 1, fabric: bool = False) -> Form:
    """A registered product of signed operands, or a chain of them that is summed up."""
    bits = bits or first + second + (chain - 1).bit_length()
    each = first + second
    name = f"{'fabric' if fabric else 'mul'}_{first}x{second}_{bits}" + (
        f"_chain{chain}" if chain > 1 else ""
    )
    lines = []
    for k in range(chain):
        low = k * each
        lines += [
            f"reg signed [{first - 1}:0] a{k}; reg signed [{second - 1}:0] b{k};",
            f"reg signed [{bits - 1}:0] p{k};",
            f"always @(posedge c) begin a{k} <= i[{low + first - 1}:{low}];",
            f"b{k} <= i[{low + each - 1}:{low + first}];",
            f"p{k} <= a{k} * b{k}" + (f" + p{k - 1}" if k else "") + "; end",
        ]
    lines.append(f"assign o = p{chain - 1};")
    body = "\n".join(lines)
    if fabric:
        resource, rule = "lut", _both(rules.fabric_product(first, second))
        body = "(* keep *) wire unused = 0;\n" + body
    else:
        resource = "dsp"
        rule = {f: chain * rules.dsp(first, second, bits, f) for f in FAMILIES}
    return Form(
        name, _module(name, chain * each, bits, body), chain * each, bits, resource, rule,
        not fabric,
    )  # fmt: skip


#: Blocks: the shapes of hls_src, deep ones and those that are no power of two included.
MEMORIES = (
    memory(1024, 4096, "ultra"), memory(512, 1024, "ultra"),
    memory(512, 8192, "ultra", exact=False),
    memory(512, 4096, "block"), memory(512, 2048, "block"), memory(512, 1024, "block"),
    memory(512, 512, "block"), memory(512, 256, "block"), memory(256, 256, "block"),
    memory(128, 2048, "block"), memory(128, 1024, "block"), memory(64, 4096, "block"),
    memory(64, 2048, "block"), memory(64, 512, "block"), memory(32, 4096, "block"),
    memory(16, 4096, "block"), memory(8, 512, "block"), memory(131, 256, "block"),
    memory(128, 2048, "block", two=True), memory(64, 2048, "block", two=True),
    memory(128, 1024, "block", two=True), memory(512, 3072, "block", exact=False),
    memory(128, 1536, "block", exact=False), memory(512, 768, "block", exact=False),
    memory(64, 32, "distributed", exact=False), memory(512, 32, "distributed", exact=False),
    memory(512, 64, "distributed", exact=False), memory(512, 128, "distributed", exact=False),
    memory(256, 256, "distributed", exact=False),
    table(17, 256, "block"), table(12, 256, "distributed"), table(12, 64, "distributed"),
    queue(8, 8), queue(8, 16), queue(8, 32), queue(8, 64), queue(8, 128),
)  # fmt: skip

#: Products: packed ones, lanes, and what is left of the bookkeeping.
PRODUCTS = (
    product(25, 8), product(27, 8), product(25, 18), product(27, 17), product(27, 18),
    product(27, 8, 37, chain=4), product(16, 16), product(17, 16), product(17, 17, 32),
    product(21, 16), product(22, 17), product(19, 17, 34), product(43, 12), product(27, 27),
    product(33, 17, 32), product(33, 33, 32), product(12, 11), product(18, 4),
    product(17, 16, fabric=True), product(12, 9, fabric=True), product(9, 8, fabric=True),
)  # fmt: skip
