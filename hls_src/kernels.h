// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// Each kernel as a top function of its own: plain functions of arrays and
// scalars, so that any HLS compiler can synthesise one alone (define
// __SYNTHESIS__) and simulate it against the specification. README.md lists
// what each computes.
#ifndef M3VIT_KERNELS_H
#define M3VIT_KERNELS_H

#include "config.h"

extern "C" {

void m3vit_kernel_requantise_line(const int32_t acc[m3vit::LINE], const int32_t bias[m3vit::LINE],
                                  const uint16_t multiplier[m3vit::LINE],
                                  const uint8_t shift[m3vit::LINE], int32_t out[m3vit::LINE]);

void m3vit_kernel_activate_line(const int32_t value[m3vit::LINE], uint32_t activation,
                                const int8_t gelu[256], int8_t out[m3vit::LINE]);

void m3vit_kernel_matrix_group(
    const uint8_t tokens[m3vit::TOKENS_PAR][m3vit::TOKEN_LINES][m3vit::LINE],
    const int8_t weights[m3vit::WEIGHT_PORTS][m3vit::TILE_LINES][m3vit::LINE], int lines,
    int32_t acc[m3vit::TOKENS_PAR][m3vit::WEIGHT_PORTS]);

void m3vit_kernel_layernorm_row(const int16_t x[m3vit::MAX_LAYERNORM], int n,
                                const int16_t gamma[m3vit::MAX_LAYERNORM],
                                const int32_t beta[m3vit::MAX_LAYERNORM], uint64_t eps,
                                uint32_t shift, int8_t y[m3vit::MAX_LAYERNORM]);

uint32_t m3vit_kernel_square_root(uint64_t u);

int m3vit_kernel_softmax_block(const int32_t products[m3vit::KEY_BLOCK], int keys,
                               uint16_t multiplier, uint32_t shift, int16_t maximum[1],
                               int32_t total[1], uint8_t high[m3vit::KEY_BLOCK],
                               uint8_t low[m3vit::KEY_BLOCK]);

void m3vit_kernel_accumulate_values(const int32_t high[m3vit::KEY_BLOCK],
                                    const int32_t low[m3vit::KEY_BLOCK], int fresh, int rise,
                                    int32_t mixed[m3vit::MAX_HEAD_DIM]);

void m3vit_kernel_finish_query(const int32_t mixed[m3vit::MAX_HEAD_DIM], int32_t total,
                               uint16_t multiplier, uint32_t shift,
                               int8_t out[m3vit::MAX_HEAD_DIM]);

void m3vit_kernel_gate_token(const int32_t logits[m3vit::MAX_EXPERTS], int experts, int top_k,
                             int over_all, uint16_t expert[m3vit::MAX_TOP_K],
                             uint16_t gate[m3vit::MAX_TOP_K]);

void m3vit_kernel_upsample_pixel(const int8_t near_row_near[m3vit::LINE],
                                 const int8_t far_row_near[m3vit::LINE],
                                 const int8_t near_row_far[m3vit::LINE],
                                 const int8_t far_row_far[m3vit::LINE], int8_t out[m3vit::LINE]);

int m3vit_kernel_largest_channel(const int32_t near[m3vit::LINE], const int32_t far[m3vit::LINE],
                                 int position, int factor, int channels, int32_t largest[1]);

uint16_t m3vit_kernel_depth_pixel(int32_t logarithm);

}  // extern "C"

#endif
