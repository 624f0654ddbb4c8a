# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""From the shape of a memory, FIFO or product to blocks of a device.

docs/resources.md gives the sources of every rule; tests/resources compares them
with what yosys infers. BRAM is counted in blocks of 36 Kb, halves allowed: a
block is two of 18 Kb.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

#: Depth and width of a RAMB36 with one write and one read port (UG473, UG573); the
#: widest form has no second port for both.
SIMPLE_36 = ((512, 72), (1024, 36), (2048, 18), (4096, 9), (8192, 4), (16384, 2), (32768, 1))
#: The same of a RAMB18.
SIMPLE_18 = ((512, 36), (1024, 18), (2048, 9), (4096, 4), (8192, 2), (16384, 1))
#: Words and bits of an URAM288, which has one form only (UG573).
URAM = (4096, 72)
#: Operands of a multiplier with a sign.
MULTIPLIER = {"zynqmp": (27, 18), "zynq": (25, 18)}
#: Storage that needs the full form of both ports.
TRUE_DUAL = ("ram_t2p", "ram_2p")
#: A FIFO of more bits than this is no shift register unless bound to be one (UG1399,
#: config_storage); of more words than `LUTRAM_DEPTH` it is counted as a block.
AUTO_SRL_BITS = 1024
LUTRAM_DEPTH = 64
#: Operands up to this width (with sign) are multiplied in LUT unless bound otherwise.
FABRIC_BITS = 9


@dataclass
class Blocks:
    """What something takes of a device; LUT are an estimate."""

    dsp: float = 0
    bram36: float = 0
    uram: float = 0
    lut: float = 0

    def __add__(self, other: Blocks) -> Blocks:
        return Blocks(
            self.dsp + other.dsp,
            self.bram36 + other.bram36,
            self.uram + other.uram,
            self.lut + other.lut,
        )

    def times(self, copies: float) -> Blocks:
        """So many of them."""
        return Blocks(*(copies * n for n in (self.dsp, self.bram36, self.uram, self.lut)))


def rounded_depth(depth: int) -> int:
    """The next power of two: how deep a tool makes a memory."""
    return 1 << max(0, depth - 1).bit_length()


def bram(bits: int, depth: int, storage: str = "ram_s2p") -> float:
    """RAMB36, halves allowed, of a memory of words without byte enables.

    Parameters
    ----------
    bits, depth : int
        Shape; the depth is rounded to a power of two.
    storage : str
        ``type=`` of BIND_STORAGE: with two full ports the widest form is missing.
    """
    deep = rounded_depth(depth)
    best = float("inf")
    skip = 1 if storage in TRUE_DUAL else 0
    for (words, width), (half_words, half_width) in zip(
        SIMPLE_36[skip:], (*SIMPLE_18[skip:], SIMPLE_18[-1]), strict=False
    ):
        rows = max(1, ceil(deep / words))
        whole, rest = divmod(bits, width)
        last = 0.0
        if rest:
            fits_half = rows == 1 and deep <= min(half_words, 2048) and rest <= half_width
            last = 0.5 if fits_half else 1.0
        best = min(best, rows * (whole + last))
        if deep <= half_words:
            best = min(best, 0.5 * ceil(bits / half_width))
    return best


def uram(bits: int, depth: int) -> int:
    """URAM288 of a memory."""
    words, width = URAM
    return ceil(bits / width) * ceil(rounded_depth(depth) / words)


def lutram(bits: int, depth: int, family: str) -> float:
    """LUT of a memory in LUT with a write and a read port.

    A group of eight LUT (zynqmp) holds 32 words of 14 bits or 64 words of 7; of four
    (zynq) 32 words of 6 bits or 64 words of 3. Deeper ones add groups and a multiplexer
    of four ways in each LUT.
    """
    if depth <= 32:
        return bits * (8 / 14 if family == "zynqmp" else 4 / 6)
    groups = ceil(depth / 64)
    cell = 8 / 7 if family == "zynqmp" else 4 / 3
    return bits * (groups * cell + multiplexer(groups))


def multiplexer(ways: int) -> float:
    """LUT a bit of a multiplexer: four ways in one, eight in two with an F7."""
    if ways <= 1:
        return 0
    return 0.5 if ways == 2 else max(1.0, ways / 4)


def rom(bits: int, depth: int) -> float:
    """LUT of a table with one port: 64 words a LUT, F7 and F8 join four."""
    groups = ceil(depth / 64)
    return bits * (groups + (multiplexer(ceil(groups / 4)) if groups > 4 else 0))


def shift_register(bits: int, depth: int) -> float:
    """LUT of a FIFO out of shift registers: one of 32 words a LUT, or two of 16."""
    if depth <= 16:
        return bits / 2
    groups = ceil(depth / 32)
    return bits * (groups + (multiplexer(ceil(groups / 4)) if groups > 4 else 0))


def dsp(first: int, second: int, bits: int, family: str) -> int:
    """DSP of a product of signed operands.

    An operand wider than a port is cut: every part but the last has one bit less than
    the port, as it has no sign. On a DSP48E1 parts have 17 bits, which is by how much the
    cascade between two of them shifts. Parts whose weight lies beyond the result are
    left out.

    Parameters
    ----------
    first, second : int
        Widths with sign.
    bits : int
        Bits of the result that are used.
    """
    wide, narrow = MULTIPLIER[family]
    step = narrow - 1 if family == "zynq" else wide - 1
    best = 0
    for a, b in ((first, second), (second, first)):
        found = sum(
            1
            for i in range(_parts(a, wide, step))
            for j in range(_parts(b, narrow, narrow - 1))
            if i * step + j * (narrow - 1) < bits
        )
        best = found if not best else min(best, found)
    return best


def _parts(bits: int, port: int, step: int) -> int:
    return 1 if bits <= port else ceil((bits - 1) / step)


def fabric_product(first: int, second: int) -> float:
    """LUT of a product in LUT: one for each bit of each row."""
    return first * second


def of_memory(form: dict, family: str) -> Blocks:
    """An array: all banks; in a dataflow region one memory of twice the depth."""
    bits, depth = form["bits"], form["depth"] * form["halves"]
    impl = form["impl"]
    if impl == "uram":
        return Blocks(uram=form["banks"] * uram(bits, depth))
    if impl == "lutram" or (not impl and bits * depth <= AUTO_SRL_BITS):
        return Blocks(lut=form["banks"] * lutram(bits, depth, family))
    return Blocks(bram36=form["banks"] * bram(bits, depth, form["storage"]))


def of_table(form: dict, family: str) -> Blocks:
    """One read of a constant array: half a dual-port block, or a table in LUT."""
    bits, depth = form["bits"], form["depth"]
    if form["impl"] == "lutram" or bits * depth <= AUTO_SRL_BITS:
        return Blocks(lut=rom(bits, depth))
    return Blocks(bram36=bram(bits, depth, "ram_t2p"))


def of_stream(form: dict, family: str) -> Blocks:
    """A FIFO, with its pointers and flags."""
    bits, depth, impl = form["bits"], form["depth"], form["impl"]
    control = FIFO_CONTROL + 2 * (depth - 1).bit_length()
    if not impl:
        small = bits * depth <= AUTO_SRL_BITS
        impl = "srl" if small else "lutram" if depth <= LUTRAM_DEPTH else "bram"
    if impl == "srl":
        return Blocks(lut=control + shift_register(bits, depth))
    if impl == "lutram":
        return Blocks(lut=control + lutram(bits, depth, family))
    if impl == "uram":
        return Blocks(lut=control, uram=uram(bits, depth))
    return Blocks(lut=control, bram36=bram(bits, depth))


def of_product(form: dict, family: str) -> Blocks:
    """A product of two operands with sign."""
    first, second, impl = form["first"], form["second"], form["impl"]
    if impl == "fabric" or (not impl and first <= FABRIC_BITS):
        return Blocks(lut=fabric_product(first, second))
    return Blocks(dsp=dsp(first, second, form["result"], family))


#: LUT of a FIFO besides its words and pointers.
FIFO_CONTROL = 12
#: LUT of an AXI master's adapter in one direction, and for each bit of its data.
ADAPTER, ADAPTER_BIT = 450, 2.0
#: Bits beside the data in an adapter's buffer: strobes of a write, flags of a read.
READ_FLAGS = 3


def of_port(form: dict, family: str) -> Blocks:
    """An AXI master in one direction: a buffer of all outstanding bursts, and the adapter."""
    bits = form["bits"]
    extra = bits // 8 if form["direction"] == "write" else READ_FLAGS
    depth = form["outstanding"] * form["burst"]
    return Blocks(bram36=bram(bits + extra, depth), lut=ADAPTER + ADAPTER_BIT * bits)


def of_operator(form: dict, family: str) -> Blocks:
    """An operator in LUT."""
    name, bits = form["name"], form["bits"]
    if name.startswith("mux"):
        return Blocks(lut=bits * multiplexer(int(name[3:])))
    if name.startswith("shift"):
        return Blocks(lut=bits * int(name[5:]) / 2)
    if name == "divide":
        return Blocks(lut=bits * bits)
    return Blocks(lut=bits * OPERATOR[name])


#: LUT a bit: a carry chain takes one, a comparison half, a multiplexer of two half. One
#: with a constant, a comparison with a constant and a register that keeps its value mostly
#: merge with what is around them.
OPERATOR = {
    "add": 1.0, "compare": 0.5, "limit": 0.2, "equal": 0.34, "select": 0.5, "pick": 0.2,
    "hold": 0.2, "logic": 0.5,
}  # fmt: skip
#: LUT of a process' handshake, and of the control of a loop.
PROCESS, LOOP = 20, 40


def of_process(form: dict, family: str) -> Blocks:
    """Start and done of a process."""
    return Blocks(lut=PROCESS)


def of_loop(form: dict, family: str) -> Blocks:
    """States and enables of a loop."""
    return Blocks(lut=LOOP)


def surroundings(board) -> Blocks:
    """What the block design adds: interconnects, reset, the control port."""
    return Blocks(lut=0)
