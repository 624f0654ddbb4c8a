# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""What the rules share: a parsed source, its functions, memories and accesses."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from functools import cached_property

from .accesses import Elaboration
from .faults import Fault
from .memories import Memories
from .model import Function, Loop, Program
from .places import Access
from .ports import Use, use
from .sources import Node, Unit


class Context:
    """A source with everything that is derived from it, each thing once."""

    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self._accesses: dict[int, list[Access]] = {}
        self._directions: dict[str, dict[int, set[str]]] = {}

    @cached_property
    def program(self) -> Program:
        """Its functions."""
        return Program(self.unit)

    @cached_property
    def memories(self) -> Memories:
        """Its memories."""
        return Memories(self.program)

    @property
    def functions(self) -> list[Function]:
        """Its functions, in the order of the text."""
        found = self.program.functions.values()
        return sorted(found, key=lambda f: (f.node.file, f.node.start))

    @property
    def loops(self) -> Iterator[Loop]:
        """Its loops, in the order of the text."""
        for function in self.functions:
            yield from sorted(function.loops, key=lambda loop: loop.node.start)

    @property
    def pipelines(self) -> Iterator[Loop]:
        """Its pipelined loops."""
        return (loop for loop in self.loops if loop.pipelined)

    def in_pipeline(self, loop: Loop) -> bool:
        """Whether a loop runs inside a pipeline."""
        if loop.function.usr in self.program.inner:
            return True
        parent = loop.parent
        while parent is not None:
            if parent.pipelined:
                return True
            parent = parent.parent
        return False

    def interval(self, loop: Loop) -> int | None:
        """The interval that a loop states."""
        if loop.interval is not None:
            return loop.interval
        pragma = loop.pragma("PIPELINE")
        name = pragma.options.get("ii", "") if pragma else ""
        return self.memories.constant(name) if name else None

    def accesses(self, loop: Loop) -> list[Access]:
        """What one iteration of a loop touches."""
        if id(loop) not in self._accesses:
            self._accesses[id(loop)] = Elaboration(self.program, self.memories).loop(loop)
        return self._accesses[id(loop)]

    def uses(self, loop: Loop) -> list[Use]:
        """Ports that one iteration of a loop takes, memory by memory."""
        groups: dict[tuple, list[Access]] = defaultdict(list)
        for access in self.accesses(loop):
            if access.what == "memory":
                groups[access.key].append(access)
        found = []
        for (key, path), accesses in groups.items():
            first = accesses[0]
            memory = self.memories.get(key, first.name.split(".")[0], first.kind, path)
            if not memory.registers:
                found.append(use(memory, accesses))
        return found

    def directions(self, function: Function) -> dict[int, set[str]]:
        """``r``, ``w`` and ``poll`` for each parameter, by its number."""
        if function.usr not in self._directions:
            elaboration = Elaboration(self.program, self.memories, once=True)
            elaboration.statement(function.body)
            found: dict[int, set[str]] = {p.key: set() for p in function.parameters}
            for access in elaboration.found:
                if access.key[0] in found:
                    found[access.key[0]].add(access.mode)
            self._directions[function.usr] = found
        return self._directions[function.usr]

    def fault(self, node: Node, rule: str, message: str) -> Fault:
        """A fault at a node."""
        return Fault(node.file, node.line, rule, message)
