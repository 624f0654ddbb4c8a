# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Widths of the words of streams and memories."""

from __future__ import annotations

from collections.abc import Iterator

from clang.cindex import CursorKind, TypeKind

from ..context import Context
from ..faults import Fault
from ..memories import dimensions
from ..model import is_manual, is_stream, is_word, record
from ..sources import Node


def _variables(context: Context) -> Iterator[Node]:
    for function in context.functions:
        yield from function.parameters
        yield from (n for n in function.body.walk() if n.kind == CursorKind.VAR_DECL)


def _element(kind):
    kind = kind.get_canonical()
    if kind.kind in (TypeKind.LVALUEREFERENCE, TypeKind.POINTER):
        kind = kind.get_pointee().get_canonical()
    while kind.kind in (TypeKind.CONSTANTARRAY, TypeKind.INCOMPLETEARRAY):
        kind = kind.element_type.get_canonical()
    return kind


def widths(context: Context) -> Iterator[Fault]:
    """``width``: words have a power-of-two number of bits."""
    seen = set()
    for node in _variables(context):
        kind = node.cursor.type
        if is_stream(kind) or is_manual(kind):
            what, word = "stream", _element(kind).get_template_argument_type(0)
        elif dimensions(kind):
            what, word = "memory", _element(kind)
            if context.memories.get(node.key, node.name, kind).registers:
                continue
        elif kind.get_canonical().kind == TypeKind.POINTER:
            what, word = "bus", _element(kind)
        else:
            continue
        size = word.get_canonical().get_size()
        if size <= 0 or size & (size - 1) == 0 or (node.file, node.start) in seen:
            continue
        seen.add((node.file, node.start))
        yield context.fault(
            node, "width",
            f"{what} {node.name} has words of {size} bytes ({word.spelling}), no power of two; "
            "pad the struct",
        )  # fmt: skip


def aggregates(context: Context) -> Iterator[Fault]:
    """``aggregate``: a memory of structs is one memory, not one per field."""
    for function in context.functions:
        for node in function.body.walk():
            if node.kind != CursorKind.VAR_DECL or not dimensions(node.cursor.type):
                continue
            kind = node.cursor.type
            element = _element(kind)
            if is_stream(kind) or record(element) is None or is_word(element):
                continue
            memory = context.memories.get(node.key, node.name, kind)
            if not (memory.aggregated or memory.registers or memory.constant):
                yield context.fault(
                    node, "aggregate",
                    f"{node.name} would be one memory per field of {element.spelling}; add "
                    f"#pragma HLS AGGREGATE variable = {node.name}",
                )  # fmt: skip
