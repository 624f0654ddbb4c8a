// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// The arithmetic of ATTENTION for one query and one block of keys
// (docs/numerics.md).
#ifndef M3VIT_SOFTMAX_H
#define M3VIT_SOFTMAX_H

#include "matrix_engine.h"
#include "requantise.h"

namespace m3vit {

constexpr int BLOCK = static_cast<int>(KEY_BLOCK);

// 64 scores of one query to probabilities, split as 64 * high + low (each in
// the engine's offset-binary); returns by how many octaves the maximum rose.
inline int softmax_block(const int32_t products[BLOCK], int keys, uint16_t multiplier,
                         uint32_t shift, int16_t &maximum_octave, int32_t &total,
                         uint8_t high[BLOCK], uint8_t low[BLOCK]) {
    int32_t score[BLOCK];
    int32_t power[BLOCK];
    int32_t largest = -32768;
SCALE_SCORES:
    for (int j = 0; j < BLOCK; ++j) {
#pragma HLS PIPELINE II = 1
#pragma HLS UNROLL factor = LANES
        const int32_t scaled = sat16(requantise(products[j], multiplier, shift));
        score[j] = j < keys ? scaled : -32768;
        largest = score[j] > largest ? score[j] : largest;
    }
    const int octave = maximum((largest + 255) >> 8, maximum_octave);
    const int rise = octave - maximum_octave;
    maximum_octave = static_cast<int16_t>(octave);
EXPONENTIALS:
    for (int j = 0; j < BLOCK; ++j) {
#pragma HLS PIPELINE II = 1
#pragma HLS UNROLL factor = LANES
        const int below = 256 * octave - score[j];
        power[j] = EXP_TABLE[below & 255] * 2 >> minimum(below >> 8, 31);
    }
    int32_t sum = 0;
PROBABILITIES:
    for (int j = 0; j < BLOCK; ++j) {
#pragma HLS PIPELINE II = 1
#pragma HLS UNROLL factor = LANES
        const int32_t p = j < keys ? (power[j] + 1) >> 1 : 0;
        sum += p;
        high[j] = static_cast<uint8_t>(p >> 6 ^ OFFSET_BINARY);
        low[j] = static_cast<uint8_t>((p & 63) ^ OFFSET_BINARY);
    }
    total = (rise <= 31 ? static_cast<int32_t>(rshift(total, rise)) : 0) + sum;
    return rise;
}

// 64 channels of one query: rescale to the new maximum and add.
inline void accumulate_values(const int32_t high[BLOCK], const int32_t low[BLOCK], bool fresh,
                              int rise, int32_t mixed[MAX_HEAD_DIM]) {
ACCUMULATE:
    for (int c = 0; c < static_cast<int>(MAX_HEAD_DIM); ++c) {
#pragma HLS PIPELINE II = 1
#pragma HLS UNROLL factor = LANES
        const int32_t kept = fresh || rise > 31 ? 0 : static_cast<int32_t>(rshift(mixed[c], rise));
        mixed[c] = kept + 64 * high[c] + low[c];
    }
}

// Divide by the sum and requantise.
inline void finish_query(const int32_t mixed[MAX_HEAD_DIM], int32_t total, uint16_t multiplier,
                         uint32_t shift, int8_t out[MAX_HEAD_DIM]) {
    const int64_t inverse = (1ll << 42) / total;
FINISH:
    for (int c = 0; c < static_cast<int>(MAX_HEAD_DIM); ++c) {
#pragma HLS PIPELINE II = 1
#pragma HLS UNROLL factor = LANES
        const int32_t mean = static_cast<int32_t>(rshift(mixed[c] * inverse, 26));
        out[c] = sat8(requantise(mean, multiplier, shift));
    }
}

}  // namespace m3vit

#endif
