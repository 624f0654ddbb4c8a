// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// Plain C++ for any processor; the other paths are tested against it.
#include "kernels.h"

namespace fast {
namespace {

constexpr int TILE = 16;

void pack(const int8_t *from, size_t n, uint8_t *to) {
    int16_t *out = reinterpret_cast<int16_t *>(to);
    for (size_t i = 0; i < n; ++i) out[i] = from[i];
}

// One row and 16 columns at a time, in pairs of products.
void dot(const Dot &d) {
    for (int r = 0; r < d.rows; ++r)
        for (int first = 0; first < d.cols; first += 16) {
            int32_t sum[16] = {};
            const int8_t *b = d.b + 2 * first;
            for (int s = 0; s < d.segments; ++s) {
                const uint8_t *a = d.a + static_cast<size_t>(s) * d.segment_bytes +
                                   static_cast<size_t>(r) * d.row_bytes;
                for (int k = 0; k < d.k; k += 2, a += 4, b += 2 * d.cols) {
                    int16_t x[2];
                    memcpy(x, a, 4);
                    for (int c = 0; c < 16; ++c) sum[c] += x[0] * b[2 * c] + x[1] * b[2 * c + 1];
                }
            }
            memcpy(d.out + r * PANEL + first, sum, sizeof sum);
        }
}

}  // namespace

extern const Path path_plain = {
    "plain",
    TILE,
    2,
    16,
    2,
    0,
    0,
    true,
    pack,
    dot,
    plain_finish8,
    plain_finish16,
    plain_finish32,
    plain_finish_gated,
    plain_scores,
    plain_softmax16,
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
