# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""What no HLS compiler accepts, found in the syntax tree that libclang makes.

The sources are parsed as for synthesis (``__SYNTHESIS__`` defined): code for
the host build only may do more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from clang.cindex import Cursor, CursorKind, Index, TranslationUnit, TypeKind

HEAP = {"malloc", "calloc", "realloc", "free", "alloca", "aligned_alloc", "posix_memalign"}
#: Headers of the language, not of a library.
SYSTEM_HEADERS = {"stdint.h"}
#: A call of it with a constant argument bounds a loop.
CLAMP = "minimum"

_LOOPS = {CursorKind.WHILE_STMT: "while loop", CursorKind.DO_STMT: "do loop"}
_FORBIDDEN = {
    CursorKind.CXX_NEW_EXPR: "heap: new",
    CursorKind.CXX_DELETE_EXPR: "heap: delete",
    CursorKind.CXX_THROW_EXPR: "exception",
    CursorKind.CXX_TRY_STMT: "exception",
    CursorKind.CXX_DYNAMIC_CAST_EXPR: "dynamic_cast",
    CursorKind.CXX_TYPEID_EXPR: "typeid",
    CursorKind.LAMBDA_EXPR: "lambda",
    CursorKind.GOTO_STMT: "goto",
    **_LOOPS,
}
_FLOATING = {TypeKind.FLOAT, TypeKind.DOUBLE, TypeKind.LONGDOUBLE, TypeKind.HALF}
_VARIABLES = {CursorKind.VAR_DECL, CursorKind.PARM_DECL, CursorKind.FIELD_DECL}
_FUNCTIONS = {CursorKind.FUNCTION_DECL, CursorKind.CXX_METHOD, CursorKind.CONSTRUCTOR}


def parse(path: Path) -> TranslationUnit:
    """Parse one file as for synthesis; a syntax error is a `ValueError`."""
    arguments = ["-x", "c++", "-std=c++14", "-D__SYNTHESIS__"]
    unit = Index.create().parse(str(path), args=arguments)
    errors = [str(d) for d in unit.diagnostics if d.severity >= 3]
    if errors:
        raise ValueError(f"{path.name} does not parse: {errors[0]}")
    return unit


def findings(unit: TranslationUnit, root: Path) -> list[str]:
    """Everything below `root` that breaks a rule, as ``file:line: rule``."""
    found = []
    calls: dict[str, set[str]] = {}
    names: dict[str, str] = {}
    for cursor, parent, function in _walk(unit.cursor, None, None):
        if cursor.location.file is None or root not in Path(cursor.location.file.name).parents:
            continue
        where = f"{Path(cursor.location.file.name).name}:{cursor.location.line}"
        found += [f"{where}: {rule}" for rule in _rules(cursor, parent)]
        if cursor.kind == CursorKind.CALL_EXPR and function is not None:
            target = cursor.referenced
            if target is not None and target.kind in _FUNCTIONS:
                calls.setdefault(function.get_usr(), set()).add(target.get_usr())
                names[function.get_usr()] = function.spelling
    found += [f"recursion: {names[usr]}" for usr in calls if _reaches(calls, usr, usr)]
    found += [
        f"{Path(i.source.name).name}: includes <{Path(i.include.name).name}>"
        for i in unit.get_includes()
        if root in Path(i.source.name).parents
        and root.resolve() not in Path(i.include.name).resolve().parents
        and Path(i.include.name).name not in SYSTEM_HEADERS
    ]
    return sorted(set(found))


def pragma_findings(path: Path) -> list[str]:
    """PIPELINE pragmas without an initiation interval."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [
        f"{path.name}:{number}: PIPELINE without II"
        for number, line in enumerate(lines, 1)
        if re.search(r"#pragma HLS PIPELINE", line) and not re.search(r"II\s*=\s*\d+", line)
    ]


def _walk(
    cursor: Cursor, parent: Cursor | None, function: Cursor | None
) -> Iterator[tuple[Cursor, Cursor | None, Cursor | None]]:
    yield cursor, parent, function
    inside = cursor if cursor.kind in _FUNCTIONS and cursor.is_definition() else function
    for child in cursor.get_children():
        yield from _walk(child, cursor, inside)


def _rules(cursor: Cursor, parent: Cursor | None) -> Iterator[str]:
    if cursor.kind in _FORBIDDEN:
        yield _FORBIDDEN[cursor.kind]
    if cursor.kind == CursorKind.FOR_STMT:
        if not _bounded(cursor):
            yield "for loop without a constant bound"
        if parent is None or parent.kind != CursorKind.LABEL_STMT:
            yield "for loop without a label"
    if cursor.kind == CursorKind.CXX_FOR_RANGE_STMT:
        yield "range-based for loop"
    if cursor.kind == CursorKind.CXX_METHOD and cursor.is_virtual_method():
        yield "virtual method"
    if cursor.kind in _VARIABLES:
        yield from _type_rules(cursor)
    if cursor.kind == CursorKind.CALL_EXPR:
        target = cursor.referenced
        if target is None:  # a copy that is left out
            return
        if target.kind not in _FUNCTIONS:
            yield "call through a pointer"
        elif target.spelling in HEAP:
            yield f"heap: {target.spelling}"
        elif _in_std(target):
            yield f"standard library: {target.spelling}"


def _type_rules(cursor: Cursor) -> Iterator[str]:
    kind = cursor.type.get_canonical()
    while kind.kind in (TypeKind.CONSTANTARRAY, TypeKind.INCOMPLETEARRAY):
        kind = kind.element_type.get_canonical()
    if kind.kind == TypeKind.VARIABLEARRAY:
        yield "array of variable length"
    if kind.kind in _FLOATING:
        yield "floating point"
    declaration = kind.get_declaration()
    if declaration.kind != CursorKind.NO_DECL_FOUND and _in_std(declaration):
        yield f"standard container: {kind.spelling}"
    if kind.kind in (TypeKind.POINTER, TypeKind.LVALUEREFERENCE):
        pointee = kind.get_pointee().get_canonical()
        if pointee.kind in (TypeKind.FUNCTIONPROTO, TypeKind.FUNCTIONNOPROTO):
            yield "function pointer"
        if pointee.kind == TypeKind.POINTER and kind.kind == TypeKind.POINTER:
            yield "pointer to pointer"
    if kind.kind == TypeKind.MEMBERPOINTER:
        yield "function pointer"


def _in_std(cursor: Cursor) -> bool:
    parent = cursor.semantic_parent
    while parent is not None and parent.kind != CursorKind.TRANSLATION_UNIT:
        if parent.kind == CursorKind.NAMESPACE and parent.spelling == "std":
            return True
        parent = parent.semantic_parent
    return False


def _reaches(calls: dict[str, set[str]], start: str, target: str) -> bool:
    seen: set[str] = set()
    pending = list(calls.get(start, ()))
    while pending:
        usr = pending.pop()
        if usr == target:
            return True
        if usr not in seen:
            seen.add(usr)
            pending += calls.get(usr, ())
    return False


def _tokens(cursor: Cursor) -> list[str]:
    return [token.spelling for token in cursor.get_tokens()]


def _bounded(loop: Cursor) -> bool:
    """``for (T i = ...; i < bound; step)`` with a bound that no input can raise.

    The bound is a constant expression, or contains a clamp against one. The
    step is ``++``, ``--`` or a compound assignment by a constant, and the body
    does not assign the loop variable.
    """
    children = list(loop.get_children())
    if len(children) != 4 or children[0].kind != CursorKind.DECL_STMT:
        return False
    declaration, condition, step, body = children
    variable = next(declaration.get_children())
    comparisons = [c for c in _conjuncts(condition) if _bounds(c, variable.spelling)]
    return (
        bool(comparisons)
        and _steps(step, variable.spelling)
        and not any(_assigns(c, variable.spelling) for c, _, _ in _walk(body, None, None))
    )


def _unwrap(cursor: Cursor) -> Cursor:
    while cursor.kind in (CursorKind.UNEXPOSED_EXPR, CursorKind.PAREN_EXPR):
        inner = list(cursor.get_children())
        if len(inner) != 1:
            break
        cursor = inner[0]
    return cursor


def _operator(cursor: Cursor) -> str:
    """Spelling of a binary operator; empty if it comes out of a macro."""
    left = next(cursor.get_children())
    tokens = _tokens(cursor)[len(_tokens(left)) :]
    return tokens[0] if tokens else ""


def _conjuncts(cursor: Cursor) -> Iterator[Cursor]:
    cursor = _unwrap(cursor)
    if cursor.kind == CursorKind.BINARY_OPERATOR and _operator(cursor) == "&&":
        for child in cursor.get_children():
            yield from _conjuncts(child)
    else:
        yield cursor


def _bounds(condition: Cursor, variable: str) -> bool:
    if condition.kind != CursorKind.BINARY_OPERATOR:
        return False
    left, right = condition.get_children()
    return (
        _operator(condition) in ("<", "<=", ">", ">=")
        and _unwrap(left).spelling == variable
        and _constant(right)
    )


def _constant(cursor: Cursor) -> bool:
    """Whether the largest value of an expression is known when it is compiled."""
    cursor = _unwrap(cursor)
    if cursor.kind == CursorKind.INTEGER_LITERAL:
        return True
    children = list(cursor.get_children())
    if cursor.kind == CursorKind.DECL_REF_EXPR:
        target = cursor.referenced
        return target.kind == CursorKind.VAR_DECL and "constexpr" in _tokens(target)
    if cursor.kind == CursorKind.CALL_EXPR and cursor.spelling == CLAMP:
        return any(_constant(argument) for argument in cursor.get_arguments())
    if cursor.kind == CursorKind.BINARY_OPERATOR:
        return _operator(cursor) in ("+", "*", "/") and all(_constant(c) for c in children)
    if cursor.kind == CursorKind.CXX_STATIC_CAST_EXPR:
        return _constant(children[-1])
    return False


def _steps(step: Cursor, variable: str) -> bool:
    step = _unwrap(step)
    if step.kind == CursorKind.UNARY_OPERATOR:
        return _unwrap(next(step.get_children())).spelling == variable
    if step.kind == CursorKind.COMPOUND_ASSIGNMENT_OPERATOR:
        left, right = step.get_children()
        return _unwrap(left).spelling == variable and _constant(right)
    return False


def _assigns(cursor: Cursor, variable: str) -> bool:
    if cursor.kind == CursorKind.COMPOUND_ASSIGNMENT_OPERATOR or (
        cursor.kind == CursorKind.BINARY_OPERATOR and _operator(cursor) == "="
    ):
        return _unwrap(next(cursor.get_children())).spelling == variable
    if cursor.kind == CursorKind.UNARY_OPERATOR:
        tokens = _tokens(cursor)
        operand = _unwrap(next(cursor.get_children()))
        return ("++" in tokens or "--" in tokens) and operand.spelling == variable
    return False
