# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Top function and bench of one process, as C++ for Bambu."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

#: Streams of the packed product, which is a function and no process.
PRODUCTS = """
namespace m3vit {
__attribute__((always_inline)) inline void products(
    uint32_t count, Stream<int16_t> &first, Stream<int16_t> &second, Stream<int16_t> &weights,
    Stream<int32_t> &product1, Stream<int32_t> &product0) {
    for (uint32_t i = 0; i < count; ++i) {
        Int<board::MULTIPLIER_BITS> tokens[CHAIN];
        Int<8> chained[CHAIN];
        for (int c = 0; c < CHAIN; ++c) {
            const Int<TOKEN_BITS> token1 = first.read();
            const Int<TOKEN_BITS> token0 = second.read();
            tokens[c] = packed_tokens(token1, token0);
            chained[c] = weights.read();
        }
        Int<HIGH_BITS> high;
        Int<LOW_BITS> low;
        UInt<1> has_borrowed;
        unpacked(packed_sum(tokens, chained), high, low, has_borrowed);
        product1.write(static_cast<int32_t>(high) + static_cast<int32_t>(has_borrowed));
        product0.write(static_cast<int32_t>(low));
    }
}
}  // namespace m3vit
"""


def fields(sources: Path, header: str, name: str) -> list[tuple[str, str]]:
    """Type and name of each field of a plain struct."""
    body = re.search(rf"struct {name} {{(.*?)}};", (sources / header).read_text(), re.S)[1]
    return re.findall(r"^\s*(\w+) (\w+);", body, re.M)


_ROW_JOBS = {"norm": "NormJob", "gate": "GateJob", "patches": "PatchJob", "result": "ResultJob"}


def job_type(job: str) -> tuple[str, str]:
    """Header and struct of a process's job."""
    if job == "matrix":
        return "descriptors.h", "MatrixJob"
    return "row_job.h", _ROW_JOBS.get(job, "MapJob")


def _array(name: str, data: np.ndarray) -> str:
    text = ",".join(map(str, data.tolist())) or "0"
    return f"static const uint8_t {name}[] = {{{text}}};\n"


def _members(process, sources: Path) -> list[tuple[str, str]]:
    if not process.job:
        return []
    used = set(re.findall(r"\bjob\.(\w+)", process.call))
    text = "".join(p.read_text() for p in sources.glob("*.h"))
    members = fields(sources, *job_type(process.job))
    # every field that any source names; the others cannot matter
    return [(t, n) for t, n in members if n in used or re.search(rf"[.]{n}\b", text)]


def write_top(process, sources: Path, folder: Path) -> None:
    """top.h and top.cpp: scalars and streams as arguments, the job made of scalars."""
    members = _members(process, sources)
    arguments = [f"{t} job_{n}" for t, n in members]
    arguments += [f"uint32_t {n}" for n, _ in process.scalars]
    streams = [(n, t) for n, t, *_ in (*process.inputs, *process.outputs)]
    arguments += [f"bambu::StreamOf<{t}>::Raw &raw_{n}" for n, t in streams]
    if process.port:
        arguments.append("uint64_t *memory")
    head = f"void top({', '.join(arguments)})"
    own = "".join(f"    bambu::StreamOf<{t}>::Own {n}(raw_{n});\n" for n, t in streams)
    job = ""
    if process.job:
        kind = job_type(process.job)[1]
        job = f"    {kind} job = {kind}();\n"
        job += "".join(f"    job.{n} = job_{n};\n" for _, n in members)
    extra = PRODUCTS if process.name == "packed_product" else ""
    (folder / "top.h").write_text(
        f'#pragma once\n#include "{process.header}"\n{extra}using namespace m3vit;\n{head};\n'
    )
    pragma = ""
    if process.port:
        pragma = "#pragma HLS interface port=memory mode=m_axi offset=direct bundle=gmem\n"
    (folder / "top.cpp").write_text(
        f'#include "top.h"\nstatic_assert(PORT_BYTES == 8, "");\n{pragma}{head} {{\n'
        f"{own}{job}    {process.call};\n}}\n"
    )


def _job(process, vector) -> str:
    """The job of a vector: fields that its test sets, or what the host makes of an instruction."""
    if not process.job:
        return ""
    kind = job_type(process.job)[1]
    if not vector.instruction:
        fields_set = "".join(f"        job.{n} = {v};\n" for n, v in vector.job.items())
        return f"        {kind} job = {kind}();\n{fields_set}"
    words = ", ".join(f"{w}u" for w in np.frombuffer(vector.instruction, "<u4"))
    text = f"        const uint32_t encoded[] = {{{words}}};\n"
    decoded = "decode_instruction(encoded)"
    if process.job == "matrix":
        made = f"make_matrix_job({decoded}, {vector.part_lines}u)"
        return f"{text}        const MatrixJob job = {made};\n"
    text += f"        const RowJob whole = make_row_job({decoded});\n"
    return f"{text}        const {kind} job = whole.{process.job};\n"


def _data(process, vector, at: str) -> str:
    """The vector's bytes as arrays whose names begin with `at`."""
    text = "".join(_array(f"{at}in{i}", data) for i, data in enumerate(vector.inputs))
    text += "".join(_array(f"{at}out{i}", data) for i, data in enumerate(vector.outputs))
    if process.port:
        text += _array(f"{at}memory", vector.memory)
        text += f"static uint64_t {at}beats[{vector.memory.size // 8}];\n"
    if process.port == "write":
        text += _array(f"{at}after", vector.memory_after)
    return text


def _call(process, vector, at: str, members: list[tuple[str, str]]) -> str:
    """One call of `top` and the comparison behind it."""
    given = [f"job.{n}" for _, n in members]
    sizes = [str(data.size) for data in vector.inputs]
    for _, expression in process.scalars:
        given.append(re.sub(r"size\((\d+)\)", lambda m: sizes[int(m[1])], expression))
    text = _job(process, vector)
    for name, kind, place in process.inputs:
        text += f"        bambu::StreamOf<{kind}>::Raw {name};\n"
        item = f"bambu::StreamOf<{kind}>::BYTES"
        text += f"        rtl::fill<{item}>({name}, {at}in{place}, {sizes[place]}u);\n"
        given.append(name)
    for name, kind in process.outputs:
        text += f"        bambu::StreamOf<{kind}>::Raw {name};\n"
        given.append(name)
    if process.port:
        text += f"        memcpy({at}beats, {at}memory, sizeof {at}beats);\n"
        text += f"        m_param_alloc({len(given)}, sizeof {at}beats);\n"
        given.append(f"{at}beats")
    text += f"        top({', '.join(given)});\n"
    for i, (name, kind) in enumerate(process.outputs):
        size = f"{vector.outputs[i].size}u"
        item = f"bambu::StreamOf<{kind}>::BYTES"
        text += f"        bad += rtl::differing<{item}>({name}, {at}out{i}, {size});\n"
    text += "".join(f"        bad += rtl::left({name});\n" for name, _, _ in process.inputs)
    if process.port == "write":
        text += (
            f"        bad += rtl::differing_bytes({at}beats, {at}after, {vector.memory.size}u);\n"
        )
    return f"    {{\n{text}    }}\n"


def write_bench(process, vectors, sources: Path, folder: Path) -> None:
    """bench.cpp: every vector through `top`; the number of differing items is printed."""
    members = _members(process, sources)
    includes = ['"top.h"', '"rtl_bench.h"', "<mdpi/mdpi_user.h>"]
    if process.job and vectors[0].instruction:
        includes.append('"matrix_job.h"' if process.job == "matrix" else '"row_setup.h"')
    text = "".join(f"#include {i}\n" for i in includes) + "\n"
    text += "".join(_data(process, v, f"v{i}_") for i, v in enumerate(vectors))
    calls = "".join(_call(process, v, f"v{i}_", members) for i, v in enumerate(vectors))
    text += f"\nint main() {{\n    unsigned bad = 0;\n{calls}"
    text += '    printf("bad %u\\n", bad);\n    return bad != 0;\n}\n'
    (folder / "bench.cpp").write_text(text)
