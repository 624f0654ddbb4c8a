# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""A miniature accelerator that keeps every rule, and programs derived from it."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from tools.hls_check.check import contexts, faults  # noqa: E402

WORDS = """\
#ifndef WORDS_H
#define WORDS_H
#include <stdint.h>
#ifdef __VITIS_HLS__
#include <ap_int.h>
#include <hls_stream.h>
using Line = ap_uint<512>;
#else
struct Line { uint8_t b[64]; };
struct Word { uint8_t b[128]; };
namespace hls {
template <class T> class stream {
  public:
    stream(const char *name = "") : at_(0), name_(name) {}
    T read() { return items_[at_++]; }
    void write(const T &item) { items_[at_++] = item; }
    bool empty() const { return at_ == 0; }
    bool read_nb(T &item) { item = items_[0]; return at_ != 0; }
  private:
    int at_;
    const char *name_;
    T items_[4];
};
template <class T> class burst_maxi {
  public:
    void read_request(unsigned offset, unsigned length);
    T read();
};
}  // namespace hls
#endif
template <class T> using Stream = hls::stream<T>;
inline uint8_t byte_at(const Line &line, int i) { return line.b[i]; }
inline void set_byte(Line &line, int i, uint8_t v) { line.b[i] = v; }
#endif
"""

#: Lines that tests replace stand alone, so that each is found once.
ACCELERATOR = """\
#include "words.h"
namespace mini {

constexpr int T = 4;
constexpr int DEPTH = 64;
static const int8_t TABLE[16] = {1, 2, 3};

struct Chunk {
    int32_t tiles, lines;
};

void read_lines(int total, const Line *bus, Stream<Line> &lines) {
READ:
    for (int i = 0; i < total; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
        lines.write(bus[i]);
    }
}

void fill(Stream<Line> &lines, Line words[DEPTH]) {
FILL:
    for (int i = 0; i < DEPTH; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
        words[i] = lines.read();
    }
}

inline int lane(const Line &line, int t) { return TABLE[byte_at(line, t) & 15]; }

void compute(Stream<Chunk> &chunks, const Line words[DEPTH], Stream<Line> &results) {
    const Chunk c = chunks.read();
    Line rows[T][2 * DEPTH];
#pragma HLS ARRAY_PARTITION variable = rows dim = 1 complete
#pragma HLS BIND_STORAGE variable = rows type = ram_s2p impl = lutram
    int32_t acc[T];
#pragma HLS ARRAY_PARTITION variable = acc dim = 0 complete
    int8_t table[T][16];
#pragma HLS ARRAY_PARTITION variable = table dim = 1 complete
    const int total = c.tiles * c.lines;
    int step = 0, side = 0;
TABLES:
    for (int i = 0; i < 16; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
        for (int t = 0; t < T; ++t) {
#pragma HLS UNROLL
            table[t][i] = TABLE[i];
        }
    }
STEPS:
    for (int i = 0; i < total; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
#pragma HLS DEPENDENCE variable = rows type = inter dependent = false
        const Line word = words[step];
        const bool last = step == c.lines - 1;
        Line result = word;
        for (int t = 0; t < T; ++t) {
#pragma HLS UNROLL
            const Line row = rows[t][side * DEPTH + step];
            if (last) rows[t][(side ^ 1) * DEPTH + step] = word;
            acc[t] = (step == 0 ? 0 : acc[t]) + table[t][byte_at(row, t) & 15];
            set_byte(result, t, static_cast<uint8_t>(acc[t] >> 4));
        }
        if (last) results.write(result);
        if (++step == c.lines) {
            step = 0;
            side ^= 1;
        }
    }
}

void engine(int chunks, Stream<Chunk> &descriptors, Stream<Line> &lines, Stream<Line> &results) {
CHUNKS:
    for (int c = 0; c < chunks; ++c) {
#pragma HLS DATAFLOW
        Line words[DEPTH];
#pragma HLS BIND_STORAGE variable = words type = ram_s2p impl = uram
        fill(lines, words);
        compute(descriptors, words, results);
    }
}

void describe(int chunks, int tiles, Stream<Chunk> &descriptors) {
DESCRIBE:
    for (int c = 0; c < chunks; ++c) {
#pragma HLS PIPELINE II = 1 style = flp
        Chunk chunk;
        chunk.tiles = tiles;
        chunk.lines = DEPTH;
        descriptors.write(chunk);
    }
}

void write_lines(int total, Stream<Line> &results, Line *bus) {
WRITE:
    for (int i = 0; i < total; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
        bus[i] = results.read();
    }
}

void matrix_pass(int chunks, int tiles, int total, int out, const Line *source, Line *target) {
#pragma HLS DATAFLOW
    Stream<Chunk> descriptors("descriptors");
    Stream<Line> lines("lines");
    Stream<Line> results("results");
#pragma HLS STREAM variable = descriptors depth = 4
#pragma HLS STREAM variable = lines depth = 32
#pragma HLS STREAM variable = results depth = 32
    describe(chunks, tiles, descriptors);
    read_lines(total, source, lines);
    engine(chunks, descriptors, lines, results);
    write_lines(out, results, target);
}

}  // namespace mini

extern "C" void mini_accel(const Line *source, Line *target, uint32_t count, uint32_t *state) {
#pragma HLS INTERFACE mode = m_axi port = source bundle = tokens offset = slave
#pragma HLS INTERFACE mode = m_axi port = target bundle = results offset = slave
#pragma HLS INTERFACE mode = s_axilite port = source offset = 0x10
#pragma HLS INTERFACE mode = s_axilite port = target offset = 0x1C
#pragma HLS INTERFACE mode = s_axilite port = count offset = 0x28
#pragma HLS INTERFACE mode = s_axilite port = state offset = 0x30
#pragma HLS INTERFACE mode = s_axilite port = return
    uint32_t done = 0;
INSTRUCTIONS:
    for (uint32_t i = 0; i < count; ++i) {
        mini::matrix_pass(1, 2, 64, 2, source, target);
        ++done;
    }
    *state = done;
}
"""


def check(folder: Path, source: str, words: str = WORDS, **others: str) -> list[str]:
    """What the check says about a source, as ``rule: message``.

    `others` are further files, with ``_`` for the dot in their names.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "words.h").write_text(words)
    (folder / "accel.cpp").write_text(source)
    for name, text in others.items():
        (folder / name.replace("_", ".")).write_text(text)
    found = faults(folder, contexts(folder))
    return [f"{f.rule}: {f.path.name}:{f.line}: {f.message}" for f in found]


def changed(old: str, new: str, source: str = ACCELERATOR) -> str:
    """The miniature with one passage replaced; it must be there exactly once."""
    assert source.count(old) == 1, f"{source.count(old)} times: {old}"
    return source.replace(old, new)
