# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Places that are read or written, accesses to them, and small questions about nodes."""

from __future__ import annotations

from dataclasses import dataclass

from clang.cindex import CursorKind, TypeKind

from .model import CALLABLE, arguments
from .sources import WORDS, Node

_JUMPS = (CursorKind.CONTINUE_STMT, CursorKind.BREAK_STMT, CursorKind.RETURN_STMT)


@dataclass(frozen=True)
class Place:
    """Something that can be read or written.

    Attributes
    ----------
    key, name : int, str
        The declaration that it begins with.
    kind : clang Type
        That declaration's type.
    steps : tuple
        Indices (:class:`Sum`) and names of members, outermost first.
    """

    key: int
    name: str
    kind: object
    steps: tuple = ()


@dataclass(frozen=True)
class Access:
    """One access of one iteration.

    Attributes
    ----------
    what : str
        ``memory``, ``stream``, ``bus`` or ``manual`` (a port for manual bursts).
    key : tuple
        Which one.
    name : str
        How the source calls it.
    mode : str
        ``r``, ``w``, ``poll`` for a stream's state, ``request`` for a port's run.
    address : tuple of Sum
        The indices.
    tags : tuple
        The branches around it: (number of the branching, number of the branch).
    conditional : bool
        Whether it does not happen in every iteration.
    node : Node
        Where it stands.
    kind : clang Type
        Type of the array.
    """

    what: str
    key: tuple
    name: str
    mode: str
    address: tuple
    tags: tuple
    conditional: bool
    node: Node
    kind: object


def jumps(node: Node) -> bool:
    """Whether a statement can end an iteration or a function."""
    return any(child.kind in _JUMPS for child in node.walk())


def assigned(node: Node) -> frozenset[int]:
    """Numbers of the variables that are assigned below a node."""
    found = node["assigned"]
    if found is None:
        keys = set()
        for each in node.children:
            keys |= assigned(each)
        steps = node.kind == CursorKind.UNARY_OPERATOR and node.operator in (
            "++", "--", "x++", "x--",
        )  # fmt: skip
        if steps or node.kind == CursorKind.COMPOUND_ASSIGNMENT_OPERATOR or node.operator == "=":
            target = node.children[0].bare
            if target.kind == CursorKind.DECL_REF_EXPR:
                keys.add(target.key)
        if node.kind == CursorKind.CALL_EXPR:
            kinds = parameter_kinds(node)
            for kind, argument in zip(kinds, arguments(node), strict=False):
                if mutable(kind) and argument.bare.kind == CursorKind.DECL_REF_EXPR:
                    keys.add(argument.bare.key)
        found = node["assigned"] = frozenset(keys)
    return found


def pure(node: Node) -> bool:
    """Whether an expression's value follows from variables alone."""
    found = node["pure"]
    if found is None:
        found = node["pure"] = node.kind not in (
            CursorKind.CALL_EXPR,
            CursorKind.ARRAY_SUBSCRIPT_EXPR,
        ) and all(pure(child) for child in node.children)
    return found


def parameter_kinds(call: Node) -> list:
    """Types of the parameters of what a call runs."""
    target = call.target
    if target is None or target.kind not in CALLABLE:
        return []
    found = call["kinds"]
    if found is None:
        found = call["kinds"] = [a.type.get_canonical() for a in target.get_arguments()]
    return found


def mutable(kind) -> bool:
    """Whether a parameter of a type lets the function change the argument."""
    if kind.kind not in (TypeKind.LVALUEREFERENCE, TypeKind.POINTER):
        return False
    return not kind.get_pointee().is_const_qualified()


def atomic(node: Node) -> bool:
    """Whether a function is an operation of a word, not to be taken apart."""
    return node.file is not None and node.file.name == WORDS


def member_type(kind, path: list[str]):
    """Type of the member that a path of names leads to; None if there is none."""
    for name in path:
        kind = kind.get_canonical()
        if kind.kind == TypeKind.LVALUEREFERENCE:
            kind = kind.get_pointee().get_canonical()
        fields = {f.spelling: f.type for f in kind.get_fields()}
        if name not in fields:
            return None
        kind = fields[name]
    return kind


def channel_mode(what: str, method: str) -> str:
    """What a method of a stream, or of a port for manual bursts, does."""
    if method in ("read", "operator>>"):
        return "r"
    if method in ("write", "operator<<"):
        return "w"
    return "poll" if what == "stream" else "request"


def cases(body: Node) -> list[list[Node]]:
    """The branches of a switch."""
    branches: list[list[Node]] = []
    for child in body.children if body.kind == CursorKind.COMPOUND_STMT else [body]:
        if child.kind in (CursorKind.CASE_STMT, CursorKind.DEFAULT_STMT) or not branches:
            branches.append([])
        branches[-1].append(child)
    return branches
