// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
#include "kernels.h"

#include "gate.h"
#include "layernorm.h"
#include "matrix_engine.h"
#include "outputs.h"
#include "softmax.h"
#include "store.h"
#include "upsample.h"

using namespace m3vit;

void m3vit_kernel_requantise_line(const int32_t acc[LINE], const int32_t bias[LINE],
                                  const uint16_t multiplier[LINE], const uint8_t shift[LINE],
                                  int32_t out[LINE]) {
    requantise_line(acc, bias, multiplier, shift, 0, out);
}

void m3vit_kernel_activate_line(const int32_t value[LINE], uint32_t activation,
                                const int8_t gelu[256], int8_t out[LINE]) {
    activate_line(value, activation, gelu, out);
}

void m3vit_kernel_matrix_group(const uint8_t tokens[TOKENS_PAR][TOKEN_LINES][LINE],
                               const int8_t weights[WEIGHT_PORTS][TILE_LINES][LINE], int lines,
                               int32_t acc[TOKENS_PAR][WEIGHT_PORTS]) {
    matrix_group_lanes(tokens, 0, weights, 0, lines, acc);
}

void m3vit_kernel_layernorm_row(const int16_t x[MAX_LAYERNORM], int n,
                                const int16_t gamma[MAX_LAYERNORM],
                                const int32_t beta[MAX_LAYERNORM], uint64_t eps, uint32_t shift,
                                int8_t y[MAX_LAYERNORM]) {
    layernorm_row(x, n, gamma, beta, eps, shift, y);
}

uint32_t m3vit_kernel_square_root(uint64_t u) { return square_root(u); }

int m3vit_kernel_softmax_block(const int32_t products[KEY_BLOCK], int keys, uint16_t multiplier,
                               uint32_t shift, int16_t maximum[1], int32_t total[1],
                               uint8_t high[KEY_BLOCK], uint8_t low[KEY_BLOCK]) {
    return softmax_block(products, keys, multiplier, shift, maximum[0], total[0], high, low);
}

void m3vit_kernel_accumulate_values(const int32_t high[KEY_BLOCK], const int32_t low[KEY_BLOCK],
                                    int fresh, int rise, int32_t mixed[MAX_HEAD_DIM]) {
    accumulate_values(high, low, fresh != 0, rise, mixed);
}

void m3vit_kernel_finish_query(const int32_t mixed[MAX_HEAD_DIM], int32_t total,
                               uint16_t multiplier, uint32_t shift, int8_t out[MAX_HEAD_DIM]) {
    finish_query(mixed, total, multiplier, shift, out);
}

void m3vit_kernel_gate_token(const int32_t logits[MAX_EXPERTS], int experts, int top_k,
                             int over_all, uint16_t expert[MAX_TOP_K], uint16_t gate[MAX_TOP_K]) {
    const Decision decision = gate_token(logits, experts, top_k, over_all != 0);
COPY_DECISION:
    for (int i = 0; i < static_cast<int>(MAX_TOP_K); ++i) {
#pragma HLS UNROLL
        expert[i] = decision.expert[i];
        gate[i] = decision.gate[i];
    }
}

void m3vit_kernel_upsample_pixel(const int8_t near_row_near[LINE], const int8_t far_row_near[LINE],
                                 const int8_t near_row_far[LINE], const int8_t far_row_far[LINE],
                                 int8_t out[LINE]) {
    int16_t near[LINE], far[LINE];
    blend_rows(near_row_near, far_row_near, near);
    blend_rows(near_row_far, far_row_far, far);
    blend_columns(near, far, out);
}

int m3vit_kernel_largest_channel(const int32_t near[LINE], const int32_t far[LINE], int position,
                                 int factor, int channels, int32_t largest[1]) {
    int index = 0;
    largest[0] = largest_channel(near, far, blend_of(position, factor), channels, index);
    return index;
}

uint16_t m3vit_kernel_depth_pixel(int32_t logarithm) { return depth_pixel(logarithm); }
