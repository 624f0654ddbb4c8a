# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""A copy of ``hls_src`` in the form that Bambu takes.

Bambu wants loops unrolled by a pragma in front of them (clang's, since its own leaves some
of them), refuses pipelines of loops, takes words but no structs on its FIFO ports, and has
no ``burst_maxi``. So UNROLL moves and every other pragma goes; functions are inlined, so
that references to streams and ports stay names; structs travel as words; a port is a
pointer with requests in registers; two products get a cast. Nothing else changes.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path

_PRAGMA = re.compile(r"\s*#pragma HLS (\w+)")
_FOR = re.compile(r"\s*for \(")


def adapted(text: str) -> str:
    """Source text with UNROLL in front of its loop and without other pragmas."""
    out: list[str] = []
    for line in text.splitlines():
        pragma = _PRAGMA.match(line)
        if not pragma:
            out.append(line)
            continue
        if pragma[1] != "UNROLL":
            continue
        at = len(out) - 1  # the loop's header may take several lines
        while not _FOR.match(out[at]):
            at -= 1
            if len(out) - at > 4:
                raise ValueError(f"no loop in front of {line!r}")
        out.insert(at, "#pragma clang loop unroll(full)")
        if at and re.fullmatch(r"\s*[A-Z_0-9]+:", out[at - 1]):
            del out[at - 1]  # a label would stand between the pragma and what it is for
    return "\n".join(out) + "\n"


_STREAM = "template <typename T>\nusing Stream = hls::stream<T>;\n"
_BAMBU_STREAM = "template <typename T>\nusing Stream = typename bambu::StreamOf<T>::Type;\n"
_SIZES = {"uint8_t": 8, "int8_t": 8, "uint16_t": 16, "int16_t": 16, "uint32_t": 32,
          "int32_t": 32, "uint64_t": 64, "int64_t": 64}  # fmt: skip
_STRUCT = re.compile(r"^struct (\w+) {\n(.*?)^};\n", re.S | re.M)
_FIELD = re.compile(r"^\s*(\w+) (\w+)(?:\[(\d+)\])?;", re.M)


def codec(name: str, body: str, sizes: dict[str, int]) -> str:
    """Codec of a struct; its size is added to `sizes`. Nothing for other structs."""
    found = _FIELD.findall(body)
    if not found or any(kind not in sizes for kind, _, _ in found):
        return ""
    read, write, at = "", "", 0
    for kind, field, count in found:
        for i in range(int(count or 1)):
            place = f"item.{field}[{i}]" if count else f"item.{field}"
            part = f"word.range({at + sizes[kind] - 1}, {at})"
            if kind in _SIZES:
                read += f"        {place} = static_cast<{kind}>({part}.to_uint64());\n"
                value = f"static_cast<u{kind.lstrip('u')}>({place})"
            else:
                read += (f"        {place} = Codec<{kind}>::from("
                         f"ap_uint<{sizes[kind]}>({part}));\n")  # fmt: skip
                value = f"Codec<{kind}>::to({place})"
            write += f"        {part} = ap_uint<{sizes[kind]}>({value});\n"
            at += sizes[kind]
    sizes[name] = at
    inline = "static __attribute__((always_inline))"
    return (
        f"namespace bambu {{\ntemplate <>\nstruct Codec<{name}> {{\n"
        f"    static constexpr unsigned BYTES = {at // 8};\n    using Word = ap_uint<{at}>;\n"
        f"    {inline} {name} from(const ap_uint<{at}> &word) {{\n        {name} item;\n{read}"
        f"        return item;\n    }}\n"
        f"    {inline} ap_uint<{at}> to(const {name} &item) {{\n        ap_uint<{at}> word = 0;\n"
        f"{write}        return word;\n    }}\n}};\n}}  // namespace bambu\n"
    )


def with_codecs(text: str) -> str:
    """Source text with a Codec behind each struct of plain fields."""
    sizes = dict(_SIZES)
    return _STRUCT.sub(lambda m: m[0] + codec(m[1], m[2], sizes), text)


def digest(sources: Path, header: str) -> str:
    """Of a header and what it includes, as Bambu sees them: which sources a result is of.

    Comments, spaces and pragmas do not count.
    """
    texts: dict[str, str] = {}
    left = [header]
    while left:
        name = left.pop()
        if name in texts or name.startswith("host/") or not (sources / name).exists():
            continue
        texts[name] = (sources / name).read_text()
        left += re.findall(r'#include "([^"]+)"', texts[name])
    bare = (re.sub(r"//.*|\s", "", adapted(texts[name])) for name in sorted(texts))
    whole = "".join(name + text for name, text in zip(sorted(texts), bare, strict=True))
    return hashlib.sha256(whole.encode()).hexdigest()[:12]


def copy_sources(sources: Path, target: Path, benches: Path) -> None:
    """Write the adapted copy to `target`; headers for Bambu come from `benches`."""
    for path in sources.rglob("*.h"):
        text = adapted(path.read_text())
        if path.parent == sources:
            text = re.sub(r"^inline ", "inline __attribute__((always_inline)) ", text, flags=re.M)
            text = with_codecs(text)
        if path.name == "words.h":
            if text.count(_STREAM) != 1:
                raise ValueError("words.h has no stream of the vendor")
            text = text.replace(_STREAM, _BAMBU_STREAM)
            text = text.replace("#include <hls_stream.h>", '#include "host/bambu_stream.h"')
        copy = target / path.relative_to(sources)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(text)
    shutil.copy(benches / "bambu_port.h", target / "host" / "plain_port.h")
    shutil.copy(benches / "bambu_stream.h", target / "host" / "bambu_stream.h")
