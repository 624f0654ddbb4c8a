// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// LAYERNORM: int16 residual rows to int8 (docs/numerics.md). One division and
// one square root per row, none per channel.
#ifndef M3VIT_LAYERNORM_H
#define M3VIT_LAYERNORM_H

#include "cycles.h"
#include "memories.h"
#include "requantise.h"
#include "types.h"

namespace m3vit {

// floor(sqrt(u)), one bit per stage.
inline uint32_t square_root(uint64_t u) {
#pragma HLS PIPELINE II = 1
    uint64_t remainder = u;
    uint64_t root = 0;
ROOT_BITS:
    for (int i = 31; i >= 0; --i) {
#pragma HLS UNROLL
        const uint64_t trial = (root * 2 + (1ull << i)) << i;  // (root + 2^i)^2 - root^2
        if (trial <= remainder) {
            remainder -= trial;
            root += 1ull << i;
        }
    }
    return static_cast<uint32_t>(root);
}

// inv = floor(2^63 / sqrt(V << 2k)), k half the leading zeros of V.
struct ReciprocalRoot {
    uint64_t inv;
    uint32_t k;
};

inline ReciprocalRoot reciprocal_root(uint64_t variance) {
    ReciprocalRoot result;
    uint64_t u = variance;
    result.k = 0;
NORMALISE:
    for (int step = 16; step >= 1; step /= 2) {
#pragma HLS UNROLL
        if (u >> (64 - 2 * step) == 0) {
            u <<= 2 * step;
            result.k += static_cast<uint32_t>(step);
        }
    }
    result.inv = (1ull << 63) / square_root(u);
    return result;
}

// Sums over the n channels of one row.
struct Moments {
    int32_t sum;
    uint64_t squares;
};

inline Moments row_moments(const int16_t x[MAX_LAYERNORM], int n) {
    Moments moments = {0, 0};
MOMENTS:
    for (int c = 0; c < minimum(n, MAX_LAYERNORM); ++c) {
#pragma HLS PIPELINE II = 1
#pragma HLS UNROLL factor = NORM_LANES
        moments.sum += x[c];
        moments.squares += static_cast<uint32_t>(x[c] * x[c]);
    }
    return moments;
}

// n^2 times the variance, plus epsilon.
inline uint64_t scaled_variance(const Moments &moments, int n, uint64_t eps) {
    const int64_t sum = moments.sum;
    return static_cast<uint64_t>(n) * moments.squares - static_cast<uint64_t>(sum * sum) + eps;
}

inline void normalise_row(const int16_t x[MAX_LAYERNORM], int n, int32_t sum,
                          const ReciprocalRoot &root, const int16_t gamma[MAX_LAYERNORM],
                          const int32_t beta[MAX_LAYERNORM], uint32_t shift,
                          int8_t y[MAX_LAYERNORM]) {
NORMALISE_ROW:
    for (int c = 0; c < minimum(n, MAX_LAYERNORM); ++c) {
#pragma HLS PIPELINE II = 1
#pragma HLS UNROLL factor = NORM_LANES
        const int64_t centred = static_cast<int64_t>(n) * x[c] - sum;
        const int64_t z = rshift(centred * static_cast<int64_t>(root.inv), 49 - root.k);
        y[c] = sat8(rshift(z * gamma[c] + beta[c], shift));
    }
}

// The whole of one row, as one kernel.
inline void layernorm_row(const int16_t x[MAX_LAYERNORM], int n, const int16_t gamma[MAX_LAYERNORM],
                          const int32_t beta[MAX_LAYERNORM], uint64_t eps, uint32_t shift,
                          int8_t y[MAX_LAYERNORM]) {
    const Moments moments = row_moments(x, n);
    const ReciprocalRoot root = reciprocal_root(scaled_variance(moments, n, eps));
    normalise_row(x, n, moments.sum, root, gamma, beta, shift, y);
}

inline void load_norm_table(const Instruction &in, const Beat *weights0, NormTable &table) {
    const int beats = static_cast<int>(divide_up(in.cols_in, 2));
LOAD_NORM_TABLE:
    for (int b = 0; b < minimum(beats, MAX_LAYERNORM / 2); ++b) {
#pragma HLS PIPELINE II = 1
        const Beat two = weights0[in.table + b];
    NORM_ENTRIES:
        for (int i = 0; i < 2; ++i) {
#pragma HLS UNROLL
            table.beta[2 * b + i] = signed32(two, 8 * i);
            table.gamma[2 * b + i] = signed16(two.byte[8 * i + 4], two.byte[8 * i + 5]);
        }
    }
    cycles::burst(beats, 1);
}

// What is known of the rows of one block after the first pass over them.
struct NormBlock {
    int32_t sum[NORM_ROWS];
    ReciprocalRoot root[NORM_ROWS];
};

inline void block_moments(const Instruction &in, int start, int count,
                          const int16_t residual[RESIDUAL_ELEMENTS], NormBlock &block) {
    const int n = static_cast<int>(in.cols_in);
    const uint64_t eps = static_cast<uint64_t>(in.eps_high) << 32 | in.eps_low;
BLOCK_MOMENTS:
    for (int r = 0; r < minimum(count, NORM_ROWS); ++r) {
        const uint32_t row = static_cast<uint32_t>(start + r);
        const Moments m = row_moments(residual + in.src + row * in.src_stride, n);
        block.sum[r] = m.sum;
        block.root[r] = reciprocal_root(scaled_variance(m, n, eps));
    }
    cycles::loop(count * divide_up(n, NORM_LANES), 1,
                 VECTOR_LATENCY + ROOT_LATENCY + DIVIDER_LATENCY);
}

inline void block_normalise(const Instruction &in, int start, int count, const NormBlock &block,
                            const NormTable &table, const int16_t residual[RESIDUAL_ELEMENTS],
                            int8_t act[ACT_LINES][LINE]) {
    const int n = static_cast<int>(in.cols_in);
BLOCK_NORMALISE:
    for (int r = 0; r < minimum(count, NORM_ROWS); ++r) {
        const uint32_t row = static_cast<uint32_t>(start + r);
        int8_t y[MAX_LAYERNORM];
        normalise_row(residual + in.src + row * in.src_stride, n, block.sum[r], block.root[r],
                      table.gamma, table.beta, in.shift_a, y);
        const uint32_t line = in.dst + row * in.dst_stride;
    NORM_LINES:
        for (int l = 0; l < minimum(static_cast<int>(lines_of(n)), MAX_LAYERNORM / LINE); ++l) {
        NORM_BYTES:
            for (int c = 0; c < minimum(n - l * LINE, LINE); ++c) {
#pragma HLS UNROLL factor = NORM_LANES
                act[line + l][c] = y[l * LINE + c];
            }
        }
    }
    cycles::loop(count * divide_up(n, NORM_LANES), 1, VECTOR_LATENCY);
}

// Moments of block b next to the normalisation of the block before.
inline void norm_step(const Instruction &in, int b, NormBlock &filled, const NormBlock &ready,
                      const NormTable &table, const int16_t residual[RESIDUAL_ELEMENTS],
                      int8_t act[ACT_LINES][LINE]) {
    const int rows = static_cast<int>(in.rows);
    const int start = b * NORM_ROWS;
    cycles::Fork fork;
    if (start < rows) block_moments(in, start, minimum(rows - start, NORM_ROWS), residual, filled);
    fork.branch();
    if (b > 0) {
        const int before = start - NORM_ROWS;
        block_normalise(in, before, minimum(rows - before, NORM_ROWS), ready, table, residual, act);
    }
    fork.branch();
    fork.join();
}

inline void run_layernorm(const Instruction &in, const NormTable &table,
                          const int16_t residual[RESIDUAL_ELEMENTS], int8_t act[ACT_LINES][LINE]) {
    static NormBlock ping;
    static NormBlock pong;
    const int blocks = static_cast<int>(divide_up(in.rows, NORM_ROWS));
NORM_BLOCKS:
    for (int b = 0; b < minimum(blocks, MAX_ROWS / NORM_ROWS) + 1; ++b) {
        if (b % 2 == 0) {
            norm_step(in, b, ping, pong, table, residual, act);
        } else {
            norm_step(in, b, pong, ping, table, residual, act);
        }
    }
}

}  // namespace m3vit

#endif
