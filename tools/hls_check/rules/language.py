# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""C++14 that any HLS compiler takes."""

from __future__ import annotations

from collections.abc import Iterator

from clang.cindex import Cursor, CursorKind, StorageClass, TypeKind

from ..context import Context
from ..faults import Fault
from ..memories import constant_elements
from ..model import CALLABLE, MANUAL, STREAMS, Function, record
from ..sources import Node

RULE = "language"
HEAP = {"malloc", "calloc", "realloc", "free", "alloca", "aligned_alloc", "posix_memalign"}
_FORBIDDEN = {
    CursorKind.CXX_NEW_EXPR: "new: there is no heap; declare an array of fixed size",
    CursorKind.CXX_DELETE_EXPR: "delete: there is no heap",
    CursorKind.CXX_THROW_EXPR: "throw: there are no exceptions; return a code",
    CursorKind.CXX_TRY_STMT: "try: there are no exceptions; return a code",
    CursorKind.CXX_DYNAMIC_CAST_EXPR: "dynamic_cast needs virtual functions",
    CursorKind.CXX_TYPEID_EXPR: "typeid",
    CursorKind.LAMBDA_EXPR: "lambda: write a function",
    CursorKind.GOTO_STMT: "goto",
    CursorKind.INDIRECT_GOTO_STMT: "goto",
    CursorKind.WHILE_STMT: "while: write a for loop with a bound",
    CursorKind.DO_STMT: "do: write a for loop with a bound",
    CursorKind.CXX_FOR_RANGE_STMT: "range-based for: write a counted for loop",
    CursorKind.ASM_STMT: "asm",
}
_FLOATING = {TypeKind.FLOAT, TypeKind.DOUBLE, TypeKind.LONGDOUBLE, TypeKind.HALF}
_VARIABLES = {CursorKind.VAR_DECL, CursorKind.PARM_DECL, CursorKind.FIELD_DECL}
_RECORDS = {CursorKind.CLASS_DECL, CursorKind.STRUCT_DECL, CursorKind.CLASS_TEMPLATE}
_PROTOTYPES = (TypeKind.FUNCTIONPROTO, TypeKind.FUNCTIONNOPROTO)


def language(context: Context) -> Iterator[Fault]:
    """``language``: no heap, recursion, virtual calls, pointers to functions, floats, globals."""
    program = context.program
    for node in program.others:
        if node.kind == CursorKind.VAR_DECL and not _constant(node):
            yield context.fault(
                node, RULE, f"global {node.name} is not constant; pass it as an argument"
            )
    declarations = [f.node for f in program.functions.values()] + program.templates
    for declaration in declarations + program.others:
        if declaration.kind in _RECORDS and declaration.name in STREAMS + MANUAL:
            continue
        for node in declaration.walk():
            for problem in _problems(node):
                yield context.fault(node, RULE, problem)
    yield from _recursion(context)


def _problems(node: Node) -> Iterator[str]:
    if node.kind in _FORBIDDEN:
        yield _FORBIDDEN[node.kind]
    elif node.kind == CursorKind.CXX_METHOD and node.cursor.is_virtual_method():
        yield f"virtual method {node.name}"
    elif node.kind in (CursorKind.FLOATING_LITERAL,):
        yield "floating point; use integers with a stated scale"
    elif node.kind in _VARIABLES:
        yield from _type_problems(node)
    elif node.kind == CursorKind.CALL_EXPR:
        target = node.target
        if target is None:
            return
        if target.kind not in (*CALLABLE, CursorKind.DESTRUCTOR, CursorKind.FUNCTION_TEMPLATE):
            yield "call through a pointer"
        elif target.spelling in HEAP:
            yield f"{target.spelling}: there is no heap"
        elif _in_std(target):
            yield f"standard library: {target.spelling}"


def _type_problems(node: Node) -> Iterator[str]:
    kind = node.type
    while kind.kind in (TypeKind.CONSTANTARRAY, TypeKind.INCOMPLETEARRAY):
        kind = kind.element_type.get_canonical()
    if kind.kind == TypeKind.VARIABLEARRAY:
        yield f"{node.name} is an array of variable length"
    if kind.kind in _FLOATING:
        yield f"{node.name} is floating point; use integers with a stated scale"
    declaration = record(kind)
    if declaration is not None and _in_std(declaration):
        yield f"{node.name} is of the standard library: {kind.spelling}"
    if kind.kind in (TypeKind.POINTER, TypeKind.LVALUEREFERENCE):
        pointee = kind.get_pointee().get_canonical()
        if pointee.kind in _PROTOTYPES:
            yield f"{node.name} is a pointer to a function"
        if kind.kind == TypeKind.POINTER and pointee.kind == TypeKind.POINTER:
            yield f"{node.name} is a pointer to a pointer"
    if kind.kind == TypeKind.MEMBERPOINTER:
        yield f"{node.name} is a pointer to a member"
    if (
        node.kind == CursorKind.VAR_DECL
        and node.cursor.storage_class == StorageClass.STATIC
        and node.parent is not None
        and node.parent.kind == CursorKind.DECL_STMT
        and not _constant(node)
    ):
        yield f"{node.name} is static: a process keeps nothing between runs; pass it as an argument"


def _constant(node: Node) -> bool:
    return constant_elements(node.cursor.type)


def _in_std(cursor: Cursor) -> bool:
    parent = cursor.semantic_parent
    while parent is not None and parent.kind != CursorKind.TRANSLATION_UNIT:
        if parent.kind == CursorKind.NAMESPACE and parent.spelling == "std":
            return True
        parent = parent.semantic_parent
    return False


def _constant_only(context: Context, function: Function) -> bool:
    """Whether a constexpr function is called for constants only, by the compiler itself."""
    tokens = [token.spelling for token in function.node.cursor.get_tokens()]
    return "constexpr" in tokens[: tokens.index("{")] and all(
        call.static is not None
        for other in context.program.functions.values()
        for call in other.calls
        if other is not function and context.program.callee(call) is function
    )


def _recursion(context: Context) -> Iterator[Fault]:
    program = context.program
    called = {
        f.usr: {c.usr for c in map(program.callee, f.calls) if c is not None}
        for f in program.functions.values()
    }
    for function in context.functions:
        seen: set[str] = set()
        pending = list(called[function.usr])
        while pending:
            usr = pending.pop()
            if usr not in seen:
                seen.add(usr)
                pending += called[usr]
        if function.usr in seen and not _constant_only(context, function):
            yield context.fault(function.node, RULE, f"{function.name} calls itself: no recursion")


def divisions(context: Context) -> Iterator[Fault]:
    """``division``: a pipeline divides by constant powers of two only."""
    program = context.program
    places = [(loop.node, loop.title) for loop in context.pipelines]
    places += [
        (program.functions[usr].body, f"{program.functions[usr].name} (in a pipeline)")
        for usr in program.inner
    ]
    counters = {
        loop.node.children[0].children[0].key
        for loop in context.loops
        if loop.unrolled and loop.node.children and loop.node.children[0].children
    }
    for place, title in places:
        for node in place.walk():
            if node.operator not in ("/", "%", "/=", "%="):
                continue
            divisor = node.children[1].static
            if divisor is not None and divisor > 0 and divisor & (divisor - 1) == 0:
                continue
            if all(
                each.key in counters or each.static is not None
                for each in node.walk()
                if each.kind == CursorKind.DECL_REF_EXPR
            ):
                continue
            yield context.fault(
                node, "division",
                f"{title} divides by something that is no constant power of two: a divider of "
                "many stages; count instead, or write a pipelined divider of stated depth",
            )  # fmt: skip
