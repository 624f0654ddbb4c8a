// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// The matrix engine, shared by everything that multiplies: patch embedding,
// projections, feed-forward layers, experts, heads, convolutions, attention.
//
// It multiplies TOKENS_PAR rows of tokens by a group of four rows of weights,
// OUT_PAR of them and IN_PAR columns per cycle. Tokens arrive offset-binary
// (value + 128): in hardware that is one inverter per byte, on a computer the
// product unsigned x signed is the one that vector units have.
#ifndef M3VIT_MATRIX_ENGINE_H
#define M3VIT_MATRIX_ENGINE_H

#include "cycles.h"
#include "types.h"

#ifndef __SYNTHESIS__
#include <string.h>
#endif

namespace m3vit {

constexpr uint8_t OFFSET_BINARY = 0x80;

// The engine as synthesised: one multiplier per (token, output, column).
//
// acc[t][p] = sum over `lines` lines of tokens[t][token_line ..] times
// weights[p][weight_line ..].
inline void matrix_group_lanes(const uint8_t tokens[TOKENS_PAR][TOKEN_LINES][LINE], int token_line,
                               const int8_t weights[WEIGHT_PORTS][TILE_LINES][LINE],
                               int weight_line, int lines, int32_t acc[TOKENS_PAR][WEIGHT_PORTS]) {
ENGINE_OUTPUTS:
    for (int first = 0; first < WEIGHT_PORTS; first += OUT_PAR) {
        int32_t sum[TOKENS_PAR][OUT_PAR] = {};
#pragma HLS ARRAY_PARTITION variable = sum complete dim = 0
    ENGINE_LINES:
        for (int l = 0; l < minimum(lines, TOKEN_LINES); ++l) {
        ENGINE_STEPS:
            for (int step = 0; step < LINE; step += IN_PAR) {
#pragma HLS PIPELINE II = 1
            ENGINE_TOKENS:
                for (int t = 0; t < TOKENS_PAR; ++t) {
#pragma HLS UNROLL
                ENGINE_ROWS:
                    for (int o = 0; o < OUT_PAR; ++o) {
#pragma HLS UNROLL
                    ENGINE_COLUMNS:
                        for (int k = 0; k < IN_PAR; ++k) {
#pragma HLS UNROLL
                            const int a = tokens[t][token_line + l][step + k] - OFFSET_BINARY;
                            const int w = weights[first + o][weight_line + l][step + k];
                            sum[t][o] += a * w;
                        }
                    }
                }
            }
        }
    ENGINE_RESULT_TOKENS:
        for (int t = 0; t < TOKENS_PAR; ++t) {
#pragma HLS UNROLL
        ENGINE_RESULT_ROWS:
            for (int o = 0; o < OUT_PAR; ++o) {
#pragma HLS UNROLL
                acc[t][first + o] = sum[t][o];
            }
        }
    }
}

#ifndef __SYNTHESIS__
// Four rows of weights times one row of tokens, all of it contiguous.
inline void dot_four(const uint8_t *token, const int8_t *w0, const int8_t *w1, const int8_t *w2,
                     const int8_t *w3, int columns, int32_t sum[WEIGHT_PORTS]) {
    int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
DOT_COLUMNS:
    for (int k = 0; k < columns; ++k) {
        s0 += token[k] * w0[k];
        s1 += token[k] * w1[k];
        s2 += token[k] * w2[k];
        s3 += token[k] * w3[k];
    }
    sum[0] = s0;
    sum[1] = s1;
    sum[2] = s2;
    sum[3] = s3;
}

// A row of zeros as the engine stores them.
struct ZeroRow {
    uint8_t line[TOKEN_LINES][LINE];
    ZeroRow() { memset(line, OFFSET_BINARY, sizeof line); }
};

inline const ZeroRow &zero_row() {
    static const ZeroRow row;
    return row;
}

// The same sums in the order a vector unit likes: columns innermost. What a row
// of zeros would give is the contribution of the offset, and is taken out. Only
// the first `valid` tokens are computed.
inline void matrix_group_host(const uint8_t tokens[TOKENS_PAR][TOKEN_LINES][LINE], int token_line,
                              const int8_t weights[WEIGHT_PORTS][TILE_LINES][LINE], int weight_line,
                              int lines, int valid, int32_t acc[TOKENS_PAR][WEIGHT_PORTS]) {
    const int columns = lines * LINE;
    const int8_t *w0 = weights[0][weight_line];
    const int8_t *w1 = weights[1][weight_line];
    const int8_t *w2 = weights[2][weight_line];
    const int8_t *w3 = weights[3][weight_line];
    int32_t offset[WEIGHT_PORTS];
    dot_four(zero_row().line[0], w0, w1, w2, w3, columns, offset);
HOST_TOKENS:
    for (int t = 0; t < valid; ++t) {
        dot_four(tokens[t][token_line], w0, w1, w2, w3, columns, acc[t]);
        for (int p = 0; p < WEIGHT_PORTS; ++p) acc[t][p] -= offset[p];
    }
}
#endif

// A group of four rows of weights times `valid` (at most TOKENS_PAR) tokens.
inline void matrix_group(const uint8_t tokens[TOKENS_PAR][TOKEN_LINES][LINE], int token_line,
                         const int8_t weights[WEIGHT_PORTS][TILE_LINES][LINE], int weight_line,
                         int lines, int valid, int32_t acc[TOKENS_PAR][WEIGHT_PORTS]) {
#ifdef __SYNTHESIS__
    (void)valid;
    matrix_group_lanes(tokens, token_line, weights, weight_line, lines, acc);
#else
    matrix_group_host(tokens, token_line, weights, weight_line, lines, valid, acc);
#endif
}

// `groups` groups of weights times one tile of tokens, into consecutive result
// columns from `column` on. This is the one place where the engine is used.
inline void matrix_tile(const uint8_t tokens[TOKENS_PAR][TOKEN_LINES][LINE], int token_line,
                        const int8_t weights[WEIGHT_PORTS][TILE_LINES][LINE], int weight_line,
                        int lines, int groups, int valid, int column,
                        int32_t results[TOKENS_PAR][RESULT_COLUMNS]) {
MATRIX_GROUPS:
    for (int g = 0; g < minimum(groups, CHUNK_GROUPS); ++g) {
        int32_t acc[TOKENS_PAR][WEIGHT_PORTS];
        matrix_group(tokens, token_line, weights, weight_line + g * lines, lines, valid, acc);
    MATRIX_TOKENS:
        for (int t = 0; t < minimum(valid, TOKENS_PAR); ++t) {
#pragma HLS UNROLL
        MATRIX_ROWS:
            for (int p = 0; p < WEIGHT_PORTS; ++p) {
#pragma HLS UNROLL
                results[t][column + WEIGHT_PORTS * g + p] = acc[t][p];
            }
        }
    }
}

// Cycles of that: one result every `lines` steps, OUT_PAR of four rows at a time.
inline uint64_t matrix_cycles(int lines, int groups) {
    return static_cast<uint64_t>(groups) * (WEIGHT_PORTS / OUT_PAR) * lines * (LINE / IN_PAR);
}

}  // namespace m3vit

#endif
