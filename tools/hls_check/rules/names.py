# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Names in pragmas, and names that become names of hardware."""

from __future__ import annotations

import re
from collections.abc import Iterator

from clang.cindex import CursorKind

from .. import pragmas
from ..context import Context
from ..faults import Fault
from ..model import is_stream

_KEYWORDS = """
    abs access after alias all always always_comb always_ff always_latch and architecture array
    assert assign assume attribute automatic before begin bind bins binsof bit block body break
    buf buffer bufif0 bufif1 bus byte case casex casez cell chandle class clocking cmos component
    config configuration const constant constraint context continue cover covergroup coverpoint
    cross deassign default defparam design disable disconnect dist do downto edge else elsif end
    endcase endclass endclocking endconfig endfunction endgenerate endgroup endinterface
    endmodule endpackage endprimitive endprogram endproperty endspecify endsequence endtable
    endtask entity enum event exit expect export extends extern file final first_match for force
    foreach forever fork forkjoin function generate generic genvar group guarded highz0 highz1 if
    iff ifnone ignore_bins illegal_bins import impure in incdir include inertial initial inout
    input inside instance int integer interface intersect is join join_any join_none label
    large liblist library linkage literal local localparam logic longint loop macromodule map
    matches medium mod modport module nand negedge new next nmos nor noshowcancelled not
    notif0 notif1 null of on open or others out output package packed parameter pmos port posedge
    postponed primitive priority procedure process program property protected pull0 pull1
    pulldown pullup pulsestyle_ondetect pulsestyle_onevent pure rand randc randcase randsequence
    range rcmos real realtime record ref reg register reject release rem repeat report return
    rnmos rol ror rpmos rtran rtranif0 rtranif1 scalared select sequence severity shared
    shortint shortreal showcancelled signal signed sla sll small solve specify specparam sra srl
    static string strong0 strong1 struct subtype super supply0 supply1 table tagged task then
    this throughout time timeprecision timeunit to tran tranif0 tranif1 transport tri tri0 tri1
    triand trior trireg type typedef unaffected union unique units unsigned until use var
    variable vectored virtual void wait wait_order wand weak0 weak1 when while wildcard wire with
    within wor xnor xor
"""
#: Keywords of Verilog, SystemVerilog and VHDL, in lower case.
KEYWORDS = frozenset(_KEYWORDS.split())


def pragma_scopes(context: Context) -> Iterator[Fault]:
    """``pragma-scope``: names in pragmas are in scope where the pragma stands."""
    unit = context.unit
    where = {}
    texts = {}
    for path in unit.files():
        found = unit.pragmas(path)
        if found:
            texts[path] = pragmas.replaced(path)
            where.update({(path, pragma.line): pragma for pragma in found})
    if not texts:
        return
    for path, line, message in unit.errors(texts):
        pragma = where.get((path, line))
        if pragma is not None:
            yield Fault(
                path, line, "pragma-scope",
                f"{pragma.directive}: {message}; name something that is declared above, "
                "with its namespace",
            )  # fmt: skip


def pragma_forms(context: Context) -> Iterator[Fault]:
    """``pragma-form``: directives that exist, each where it has an effect."""
    program = context.program
    bodies = [f.node for f in program.functions.values()] + program.templates
    scoped = {
        (p.path, p.line): p for f in program.functions.values() for _, p in f.scoped
    }  # in a block that is neither a function's nor a loop's
    for path in context.unit.files():
        spans = [(n.start, n.end) for n in bodies if n.file == path]
        for pragma in context.unit.pragmas(path):
            if pragma.directive not in pragmas.DIRECTIVES:
                problem = f"HLS knows no directive {pragma.directive}"
            elif not any(start <= pragma.offset < end for start, end in spans):
                problem = f"{pragma.directive} outside a function has no effect; move it into one"
            elif (path, pragma.line) in scoped and pragma.directive in (
                "PIPELINE",
                "UNROLL",
                "DATAFLOW",
            ):
                problem = (
                    f"{pragma.directive} stands in a block of its own, not in a loop's or a "
                    "function's; put it first behind the loop's brace"
                )
            else:
                continue
            yield Fault(path, pragma.line, "pragma-form", problem)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if re.search(r"\b_Pragma\s*\(", line.split("//")[0]):
                yield Fault(
                    path, number, "pragma-form", "_Pragma: write the literal #pragma HLS instead"
                )


def keywords(context: Context) -> Iterator[Fault]:
    """``keyword``: no name of hardware is a keyword of Verilog or VHDL."""
    for function in context.functions:
        for pragma in function.every_pragma:
            names = [pragma.options.get("bundle", ""), pragma.options.get("name", "")]
            names += pragma.names("port") if pragma.directive == "INTERFACE" else []
            for name in names:
                if name.lower() in KEYWORDS - {"return"}:
                    yield Fault(
                        pragma.path, pragma.line, "keyword",
                        f"{name} is a keyword of Verilog or VHDL and would be renamed; "
                        "choose another name",
                    )  # fmt: skip
        named = function.parameters if function.top else []
        named = named + [
            node
            for node in function.body.walk()
            if node.kind == CursorKind.VAR_DECL and is_stream(node.cursor.type)
        ]
        for node in named:
            if node.name.lower() in KEYWORDS:
                what = "argument" if node.kind == CursorKind.PARM_DECL else "stream"
                yield context.fault(
                    node, "keyword",
                    f"{what} {node.name} is a keyword of Verilog or VHDL and would be renamed; "
                    "choose another name",
                )  # fmt: skip
