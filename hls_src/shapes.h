// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// Shapes of the matrix pass that several processes derive from a job and a chunk:
// how many results an engine makes, how many bytes an output has.
//
//   in   MatrixJob, Chunk
//   out  numbers that hold for the whole chunk
#ifndef M3VIT_SHAPES_H
#define M3VIT_SHAPES_H

#include "descriptors.h"

namespace m3vit {

// Iterations between the last write to one half of a double buffer and the first read of
// that half: more than the stages that a tool puts between the two in one pipeline. It is
// what makes `DEPENDENCE ... dependent = false` true where two rounds meet.
constexpr int SETTLE = 8;

// The next power of two, for words of memories and streams.
constexpr int power_of_two(int n) { return n <= 1 ? 1 : 2 * power_of_two((n + 1) / 2); }

// A product of counts, once a chunk: in LUT, DSP are for the lanes.
template <int A, int B>
inline int32_t counted(const UInt<A> &a, const UInt<B> &b) {
#pragma HLS INLINE
    static_assert(A + B > 16 && A + B < 32, "");
    const UInt<A + B> wide = a;
    const UInt<A + B> product = wide * b;
#pragma HLS BIND_OP variable = product op = mul impl = fabric
    return static_cast<int32_t>(product);
}

// Widths of counts: tiles and units of a chunk, steps of a unit, pieces of a row.
constexpr int UNIT_BITS = 15;
constexpr int STEP_BITS = 11;
constexpr int PIECE_BITS = 8;

// Blocks of KEY_BLOCK keys.
inline uint16_t key_blocks(uint32_t rows) {
#pragma HLS INLINE
    return static_cast<uint16_t>((rows + KEY_BLOCK - 1) / KEY_BLOCK);
}

// Steps in which a half engine makes its share of a chunk's outputs.
inline uint16_t steps_of(uint16_t outputs) {
#pragma HLS INLINE
    return static_cast<uint16_t>((outputs + 3) / 4 * (2 / OH));
}

// What one half engine does in a chunk: `units` times, it takes T rows of tokens (`passes`
// times `pieces`) and makes `steps` results. Weights of `parts` units follow each other.
struct EngineShape {
    uint16_t units;
    uint16_t steps;
    uint16_t pieces;
    uint8_t passes;  // 2: the rows' high and low digits, both with the same weights
    uint8_t parts;   // 1, or the heads of a plane
};

// Tiles times 1 ... 4 heads.
inline uint16_t head_units(uint16_t tiles, uint8_t subs) {
#pragma HLS INLINE
    const uint16_t once = (subs & 1) != 0 ? tiles : uint16_t(0);
    const uint16_t twice = (subs & 2) != 0 ? static_cast<uint16_t>(2 * tiles) : uint16_t(0);
    const uint16_t all = static_cast<uint16_t>(4 * tiles);
    return subs == 4 ? all : static_cast<uint16_t>(once + twice);
}

// SECOND: engine B, which has the values in ATTENTION; engine A has the keys.
template <bool SECOND>
inline EngineShape engine_shape(const MatrixJob &job, const Chunk &chunk) {
#pragma HLS INLINE
    EngineShape shape;
    shape.units = chunk.tiles;
    shape.steps = steps_of(chunk.outputs);
    shape.pieces = chunk.pieces;
    shape.passes = 1;
    shape.parts = 1;
    if (job.mode == MODE_ATTENTION) {
        shape.units = head_units(chunk.tiles, chunk.subs);
        shape.steps = static_cast<uint16_t>(SECOND ? job.head_dim / OH : (job.rows + OH - 1) / OH);
        shape.pieces = static_cast<uint16_t>(SECOND ? key_blocks(job.rows) * PIECES : PIECES);
        shape.passes = SECOND ? job.passes : uint8_t(1);
        shape.parts = SECOND ? chunk.subs : uint8_t(1);
    }
    return shape;
}

// Bytes of an output channel, as a power of two.
inline uint8_t element_shift(const MatrixJob &job) {
#pragma HLS INLINE
    if (job.mode == MODE_ATTENTION) return 0;
    if (job.mode == MODE_DOWN) return 1;
    if (job.store == STORE_SCORES) return 2;
    return job.store == STORE_ACT8 ? 0 : 1;
}

// Lines of a chunk's outputs in one row.
inline uint16_t chunk_lines(const MatrixJob &job, const Chunk &chunk) {
#pragma HLS INLINE
    const uint32_t bytes = static_cast<uint32_t>(chunk.outputs) << element_shift(job);
    return static_cast<uint16_t>((bytes + LINE - 1) / LINE);
}

}  // namespace m3vit

#endif
