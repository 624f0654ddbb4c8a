// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// LAYERNORM, second step: sums of a row and of its squares, and what the root is taken of.
//
//   norm_stats   completed -> moments, one per row; the row goes on to `waiting`
//   norm_scale   moments -> radicands
//   loop         row x beat; row x step
//
// A row's result leaves in steps of its own, whatever the next row does: `norm_scale` has
// SCALE_STEPS of them, more than its pipeline has stages.
#ifndef M3VIT_NORM_STATS_H
#define M3VIT_NORM_STATS_H

#include "beat_words.h"
#include "row_job.h"

namespace m3vit {

// Sum and sum of squares of a row.
struct Moments {
    int64_t squares;
    int32_t sum;
    int32_t unused;
};
static_assert(sizeof(Moments) == 16, "a power of two of bits");

// n^2 * variance + eps as u * 4^-k, 2^62 <= u < 2^64: the upper 36 bits of u.
struct Radicand {
    uint64_t upper;
    int32_t sum;
    int32_t k;
};
static_assert(sizeof(Radicand) == 16, "a power of two of bits");

inline void norm_stats(const NormJob norm, Stream<PortBeat> &completed, Stream<PortBeat> &waiting,
                       Stream<Moments> &moments) {
    int beat = 0;
    Int<27> sum = 0;
    UInt<42> squares = 0;
STATS:
    for (uint32_t i = 0; i < norm.row_beats; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
        const PortBeat row = completed.read();
        waiting.write(row);
        int32_t beat_sum = 0;
        int64_t beat_squares = 0;
        for (int l = 0; l < LANES; ++l) {
#pragma HLS UNROLL
            const int32_t x = int16_at(row, l);
            beat_sum += x;
            beat_squares += x * x;
        }
        sum = (beat == 0 ? 0 : static_cast<int32_t>(sum)) + beat_sum;
        squares = (beat == 0 ? 0 : static_cast<int64_t>(squares)) + beat_squares;
        if (++beat == norm.in_beats) {
            beat = 0;
            const Moments found = {static_cast<int64_t>(squares), static_cast<int32_t>(sum), 0};
            moments.write(found);
        }
    }
}

inline void norm_scale(const NormJob norm, Stream<Moments> &moments, Stream<Radicand> &radicands) {
    int step = 0;
SCALE:
    for (uint32_t i = 0; i < norm.scale_steps; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
        if (step == 0) {
            const Moments found = moments.read();
            const UInt<42> squares = static_cast<uint64_t>(found.squares);
            const UInt<11> n = norm.channels;
            const Int<27> sum = found.sum;
            const uint64_t wide = static_cast<uint64_t>(squares) * static_cast<uint64_t>(n);
            const int64_t square = static_cast<int64_t>(sum) * static_cast<int64_t>(sum);
            uint64_t u = wide - static_cast<uint64_t>(square) + norm.eps;
            int k = 0;
            for (int by = 16; by >= 1; by /= 2) {
#pragma HLS UNROLL
                if (u >> (64 - 2 * by) == 0) {
                    u <<= 2 * by;
                    k += by;
                }
            }
            const Radicand radicand = {u >> 28, found.sum, k};
            radicands.write(radicand);
        }
        step = step == SCALE_STEPS - 1 ? 0 : step + 1;
    }
}

}  // namespace m3vit

#endif
