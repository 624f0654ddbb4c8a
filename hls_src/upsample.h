// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// UPSAMPLE2X: bilinear enlargement of an int8 map, sample points at pixel
// centres. Rows are blended first, then columns; both sums are exact, so the
// order does not matter to the result.
#ifndef M3VIT_UPSAMPLE_H
#define M3VIT_UPSAMPLE_H

#include "cycles.h"
#include "types.h"

namespace m3vit {

// Three times the near row plus the far one, 64 channels of one column.
inline void blend_rows(const int8_t near[LINE], const int8_t far[LINE], int16_t out[LINE]) {
BLEND_ROWS:
    for (int c = 0; c < LINE; ++c) {
#pragma HLS UNROLL
        out[c] = static_cast<int16_t>(3 * near[c] + far[c]);
    }
}

inline void blend_columns(const int16_t near[LINE], const int16_t far[LINE], int8_t out[LINE]) {
BLEND_COLUMNS:
    for (int c = 0; c < LINE; ++c) {
#pragma HLS UNROLL
        out[c] = static_cast<int8_t>((3 * near[c] + far[c] + 8) >> 4);
    }
}

inline void copy_line(const int16_t from[LINE], int16_t to[LINE]) {
COPY_LINE:
    for (int c = 0; c < LINE; ++c) {
#pragma HLS UNROLL
        to[c] = from[c];
    }
}

// One line of channels of one output row. Row r of the map starts at line
// src + r * src_stride, pixel by pixel; so does the result.
inline void upsample_row(int8_t act[ACT_LINES][LINE], uint32_t near_row, uint32_t far_row,
                         uint32_t src_stride, uint32_t dst_row, uint32_t dst_stride, int width) {
    int16_t left[LINE], here[LINE], right[LINE];
#pragma HLS ARRAY_PARTITION variable = left complete
#pragma HLS ARRAY_PARTITION variable = here complete
#pragma HLS ARRAY_PARTITION variable = right complete
    blend_rows(act[near_row], act[far_row], here);
    copy_line(here, left);
    copy_line(here, right);
UPSAMPLE_COLUMNS:
    for (int x = 0; x < minimum(width, MAX_SIDE); ++x) {
#pragma HLS PIPELINE II = 2
        if (x + 1 < width) {
            const uint32_t offset = static_cast<uint32_t>(x + 1) * src_stride;
            blend_rows(act[near_row + offset], act[far_row + offset], right);
        }
        const uint32_t dst = dst_row + static_cast<uint32_t>(2 * x) * dst_stride;
        blend_columns(here, left, act[dst]);
        blend_columns(here, right, act[dst + dst_stride]);
        copy_line(here, left);
        copy_line(right, here);
    }
    cycles::loop(width + 1, 2, VECTOR_LATENCY);
}

inline void run_upsample(const Instruction &in, int8_t act[ACT_LINES][LINE]) {
    const int height = static_cast<int>(in.height);
    const int width = static_cast<int>(in.width);
    const int lines = static_cast<int>(lines_of(in.cols_in));
UPSAMPLE_ROWS:
    for (int row = 0; row < minimum(2 * height, MAX_SIDE); ++row) {
        const int y = row / 2;
        const int other = row % 2 == 0 ? maximum(y - 1, 0) : minimum(y + 1, height - 1);
    UPSAMPLE_LINES:
        for (int l = 0; l < minimum(lines, MAX_COLS / LINE); ++l) {
            const uint32_t near = in.src + static_cast<uint32_t>(y * width) * in.src_stride + l;
            const uint32_t far = in.src + static_cast<uint32_t>(other * width) * in.src_stride + l;
            const uint32_t dst =
                in.dst + static_cast<uint32_t>(row * 2 * width) * in.dst_stride + l;
            upsample_row(act, near, far, in.src_stride, dst, in.dst_stride, width);
        }
    }
}

}  // namespace m3vit

#endif
