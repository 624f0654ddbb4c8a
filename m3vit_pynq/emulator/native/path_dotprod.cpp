// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// NEON with the dot product of ARMv8.2: 64-bit ARM computers. Compiled with
// -march=armv8.2-a+dotprod. Both operands are signed: probabilities are packed
// less 128, which an offset of the values makes good.
#if defined(__aarch64__)
#include <arm_neon.h>

#include "kernels.h"

namespace fast {
namespace {

constexpr int TILE = 4;

void pack(const int8_t *from, size_t n, uint8_t *to) { memcpy(to, from, n); }

// 16 columns at a time: 16 accumulators, four vectors of weights.
void dot(const Dot &d) {
    for (int first = 0; first < d.cols; first += 16) {
        int32x4_t sum[TILE][4];
#pragma GCC unroll 4
        for (int r = 0; r < TILE; ++r)
#pragma GCC unroll 4
            for (int v = 0; v < 4; ++v) sum[r][v] = vdupq_n_s32(0);
        const int8_t *b = d.b + 4 * first;
        for (int s = 0; s < d.segments; ++s) {
            const uint8_t *a = d.a + static_cast<size_t>(s) * d.segment_bytes;
            for (int k = 0; k < d.k; k += 4, a += 4, b += 4 * d.cols) {
                int8x16_t w[4];
#pragma GCC unroll 4
                for (int v = 0; v < 4; ++v) w[v] = vld1q_s8(b + 16 * v);
#pragma GCC unroll 4
                for (int r = 0; r < TILE; ++r) {
                    int32_t four;
                    memcpy(&four, a + static_cast<size_t>(r) * d.row_bytes, 4);
                    const int8x16_t x = vreinterpretq_s8_s32(vdupq_n_s32(four));
#pragma GCC unroll 4
                    for (int v = 0; v < 4; ++v) sum[r][v] = vdotq_s32(sum[r][v], w[v], x);
                }
            }
        }
#pragma GCC unroll 4
        for (int r = 0; r < TILE; ++r)
#pragma GCC unroll 4
            for (int v = 0; v < 4; ++v) vst1q_s32(d.out + r * PANEL + first + 4 * v, sum[r][v]);
    }
}

uint32_t softmax(const int16_t *scores, int32_t n, int32_t passes, uint8_t *high, uint8_t *low) {
    return plain_softmax8(scores, n, passes, high, low, 128);
}

}  // namespace

extern const Path path_dotprod = {
    "dotprod",
    TILE,
    4,
    16,
    1,
    0,
    -128,
    false,
    pack,
    dot,
    plain_finish8,
    plain_finish16,
    plain_finish32,
    plain_finish_gated,
    plain_scores,
    softmax,
    plain_mix,
    plain_moments,
    plain_normalise,
    plain_add_rows,
    plain_blend_line,
    plain_best_class,
    plain_checksum,
    nullptr,
    nullptr,
};

}  // namespace fast
#endif
