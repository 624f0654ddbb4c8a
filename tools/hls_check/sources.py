# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Translation units of libclang, as for synthesis, and a cached view of their cursors."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Iterator
from functools import cached_property, lru_cache
from pathlib import Path

from clang.cindex import Cursor, CursorKind, Index, SourceRange, TranslationUnit, conf

from . import pragmas

#: Folder of the sources that only the host compiles.
HOST = "host"
#: The one file that includes vendor headers.
WORDS = "words.h"

_BINARY = (
    "? .* ->* * / % + - << >> <=> < > <= >= == != & ^ | && || = *= /= %= += -= <<= >>= &= ^= |= ,"
)
_UNARY = "? x++ x-- ++ -- & * + - ~ !"
#: Signs of operators by the numbers that libclang gives them.
BINARY = dict(enumerate(_BINARY.split()))
UNARY = dict(enumerate(_UNARY.split()))
_WRAPPERS = (CursorKind.UNEXPOSED_EXPR, CursorKind.PAREN_EXPR)


#: Macros that HLS tools define, tool by tool.
TOOLS = (("__SYNTHESIS__", "__VITIS_HLS__"), ("__SYNTHESIS__", "__BAMBU__"), ("__BAMBU__",))
#: Headers of the tools, which are empty where the check reads as a tool would.
VENDOR = ("ap_int.h", "ap_fixed.h", "hls_stream.h", "hls_burst_maxi.h", "ac_int.h")


class _Ranges(ctypes.Structure):
    _fields_ = (("count", ctypes.c_uint), ("ranges", ctypes.POINTER(SourceRange)))


@lru_cache(maxsize=1)
def _library() -> ctypes.CDLL:
    """Libclang with the functions that the Python bindings of version 18 leave out."""
    lib = conf.lib
    for name in ("clang_getCursorBinaryOperatorKind", "clang_getCursorUnaryOperatorKind"):
        getattr(lib, name).argtypes = [Cursor]
        getattr(lib, name).restype = ctypes.c_int
    lib.clang_Cursor_Evaluate.argtypes = [Cursor]
    lib.clang_Cursor_Evaluate.restype = ctypes.c_void_p
    for name in ("clang_EvalResult_getKind", "clang_EvalResult_getAsLongLong"):
        getattr(lib, name).argtypes = [ctypes.c_void_p]
    lib.clang_EvalResult_getKind.restype = ctypes.c_int
    lib.clang_EvalResult_getAsLongLong.restype = ctypes.c_longlong
    lib.clang_EvalResult_dispose.argtypes = [ctypes.c_void_p]
    lib.clang_getAllSkippedRanges.argtypes = [TranslationUnit]
    lib.clang_getAllSkippedRanges.restype = ctypes.POINTER(_Ranges)
    return lib


@lru_cache(maxsize=1)
def builtin_headers() -> str:
    """Folder of the compiler's own headers (stdint.h and the like)."""
    command = ["g++", "-print-file-name=include"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@lru_cache(maxsize=4096)
def _path(name: str) -> Path:
    return Path(name).resolve()


class Node:
    """A cursor whose children and attributes are fetched once."""

    __slots__ = ("_cache", "cursor", "kind", "parent")

    def __init__(self, cursor: Cursor, parent: Node | None = None) -> None:
        self.cursor = cursor
        self.kind: CursorKind = cursor.kind
        self.parent = parent
        self._cache: dict = {}

    def _cached(self, name: str, make):
        try:
            return self._cache[name]
        except KeyError:
            value = self._cache[name] = make()
            return value

    def __getitem__(self, name: str):
        """Something that a later stage has noted about the node."""
        return self._cache.get(name)

    def __setitem__(self, name: str, value) -> None:
        self._cache[name] = value

    @property
    def children(self) -> list[Node]:
        """The nodes below, in the order of the text."""
        return self._cached("children", lambda: [Node(c, self) for c in self.cursor.get_children()])

    @property
    def name(self) -> str:
        """The cursor's spelling."""
        return self._cached("name", lambda: self.cursor.spelling)

    @property
    def file(self) -> Path | None:
        """The file it stands in."""

        def make() -> Path | None:
            file = self.cursor.extent.start.file or self.cursor.location.file
            return _path(file.name) if file is not None else None

        return self._cached("file", make)

    @property
    def line(self) -> int:
        """The line it begins in."""
        return self._cached("line", lambda: self.cursor.extent.start.line)

    @property
    def start(self) -> int:
        """Offset of its first byte."""
        return self._cached("start", lambda: self.cursor.extent.start.offset)

    @property
    def end(self) -> int:
        """Offset behind its last byte."""
        return self._cached("end", lambda: self.cursor.extent.end.offset)

    @property
    def type(self):
        """The canonical type."""
        return self._cached("type", lambda: self.cursor.type.get_canonical())

    @property
    def operator(self) -> str:
        """The operator's sign; ``x++`` and ``x--`` for the postfix ones."""

        def make() -> str:
            if self.kind in (CursorKind.BINARY_OPERATOR, CursorKind.COMPOUND_ASSIGNMENT_OPERATOR):
                kind = _library().clang_getCursorBinaryOperatorKind(self.cursor)
                return BINARY.get(kind, "?")
            if self.kind == CursorKind.UNARY_OPERATOR:
                kind = _library().clang_getCursorUnaryOperatorKind(self.cursor)
                return UNARY.get(kind, "?")
            return ""

        return self._cached("operator", make)

    @property
    def target(self) -> Cursor | None:
        """The declaration that the node refers to."""
        return self._cached("target", lambda: self.cursor.referenced)

    @property
    def key(self) -> int:
        """Number of the declaration that the node is or refers to."""

        def make() -> int:
            target = self.target
            return (target if target is not None else self.cursor).canonical.hash

        return self._cached("key", make)

    @property
    def static(self) -> int | None:
        """The value of an integer constant expression."""

        def make() -> int | None:
            lib = _library()
            result = lib.clang_Cursor_Evaluate(self.cursor)
            if not result:
                return None
            try:
                if lib.clang_EvalResult_getKind(result) != 1:
                    return None
                return int(lib.clang_EvalResult_getAsLongLong(result))
            finally:
                lib.clang_EvalResult_dispose(result)

        return self._cached("static", make)

    @property
    def bare(self) -> Node:
        """The node inside parentheses and implicit conversions."""
        node = self
        while node.kind in _WRAPPERS and len(node.children) == 1:
            node = node.children[0]
        return node

    def walk(self) -> Iterator[Node]:
        """The node and all below it, parents first."""
        pending = [self]
        while pending:
            node = pending.pop()
            yield node
            pending.extend(reversed(node.children))


class Unit:
    """One source file with its headers, parsed as for synthesis.

    Parameters
    ----------
    path : Path
        The source.
    root : Path
        Folder of the sources; what lies outside is not checked.
    defines : tuple of str
        Further macros.
    synthesis : bool
        Whether ``__SYNTHESIS__`` is defined.
    """

    def __init__(
        self, path: Path, root: Path, defines: tuple[str, ...] = (), *, synthesis: bool = True
    ) -> None:
        self.path, self.root, self.defines = path.resolve(), root.resolve(), defines
        self._checked: dict[Path | None, bool] = {}
        self.arguments = [
            "-x", "c++", "-std=c++14", "-w", "-isystem", builtin_headers(), f"-I{self.root}",
            *(f"-D{name}" for name in defines),
        ]  # fmt: skip
        if synthesis:
            self.arguments.append("-D__SYNTHESIS__")
        self.unit = self._parse(TranslationUnit.PARSE_DETAILED_PROCESSING_RECORD)
        self.top = Node(self.unit.cursor)

    def _parse(self, options: int = 0, unsaved: dict[Path, str] | None = None) -> TranslationUnit:
        files = [(str(path), text) for path, text in (unsaved or {}).items()]
        return Index.create().parse(
            str(self.path), args=self.arguments, unsaved_files=files, options=options
        )

    def errors(self, unsaved: dict[Path, str] | None = None) -> list[tuple[Path, int, str]]:
        """What the compiler refuses, with other texts for some files if given."""
        unit = self.unit if unsaved is None else self._parse(unsaved=unsaved)
        return [
            (Path(d.location.file.name), d.location.line, d.spelling)
            for d in unit.diagnostics
            if d.severity >= 3 and d.location.file is not None
        ]

    def files(self) -> list[Path]:
        """The files below the root that the unit holds, host sources left out."""
        found = {self.path} | {Path(i.include.name).resolve() for i in self.unit.get_includes()}
        return sorted(path for path in found if self.checked(path))

    def checked(self, path: Path | None) -> bool:
        """Whether a file is one of those that go to synthesis."""
        if path not in self._checked:
            self._checked[path] = (
                path is not None
                and self.root in path.parents
                and HOST not in path.relative_to(self.root).parts
            )
        return self._checked[path]

    def pragmas(self, path: Path) -> list[pragmas.Pragma]:
        """The pragmas of a file that the preprocessor does not leave out."""
        path = path.resolve()
        left_out = [(first, last) for file, first, last in self.skipped if file == path]
        return [
            pragma
            for pragma in pragmas.read(path)
            if not any(first < pragma.line < last for first, last in left_out)
        ]

    def declarations(self) -> Iterator[Node]:
        """Declarations of namespaces, in all files that are checked."""
        pending = list(reversed(self.top.children))
        while pending:
            node = pending.pop()
            if not self.checked(node.file):
                continue
            if node.kind in (CursorKind.NAMESPACE, CursorKind.LINKAGE_SPEC):
                if node.name != "hls":
                    pending.extend(reversed(node.children))
            elif node.kind == CursorKind.UNEXPOSED_DECL:
                pending.extend(reversed(node.children))
            else:
                yield node

    @cached_property
    def skipped(self) -> list[tuple[Path, int, int]]:
        """Lines that the preprocessor left out: file, first, last."""
        return self._skipped(self.unit)

    def skipped_by(self, tool: tuple[str, ...]) -> list[tuple[Path, int, int]]:
        """Lines that are left out where a tool's macros are defined."""
        arguments = [a for a in self.arguments if a != "-D__SYNTHESIS__"]
        unit = Index.create().parse(
            str(self.path),
            args=arguments + [f"-D{name}" for name in tool],
            unsaved_files=[(str(self.root / name), "") for name in VENDOR],
            options=TranslationUnit.PARSE_DETAILED_PROCESSING_RECORD
            | TranslationUnit.PARSE_SKIP_FUNCTION_BODIES,
        )
        return self._skipped(unit)

    def _skipped(self, unit: TranslationUnit) -> list[tuple[Path, int, int]]:
        found = []
        ranges = _library().clang_getAllSkippedRanges(unit)
        for index in range(ranges.contents.count):
            extent = ranges.contents.ranges[index]
            file = extent.start.file
            if file is not None:
                path = _path(file.name)
                if self.checked(path):
                    found.append((path, extent.start.line, extent.end.line))
        return found


def sources(root: Path) -> list[Path]:
    """The .cpp files below a folder that go to synthesis."""
    return sorted(p for p in root.rglob("*.cpp") if HOST not in p.relative_to(root).parts)


def headers(root: Path) -> list[Path]:
    """The .h files below a folder that go to synthesis."""
    return sorted(p for p in root.rglob("*.h") if HOST not in p.relative_to(root).parts)
