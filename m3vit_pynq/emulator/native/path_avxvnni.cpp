// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// AVX-VNNI: processors with VNNI in 256 bits only. Compiled with -mavx2 -mavxvnni.
#if defined(__x86_64__)
#include "avx2_rows.h"

namespace fast {
namespace {

constexpr int TILE = 6;

void pack(const int8_t *from, size_t n, uint8_t *to) {
    const __m256i flip = _mm256_set1_epi8(-128);
    for (size_t i = 0; i < n; i += 32)
        _mm256_storeu_si256(reinterpret_cast<__m256i *>(to + i),
                            _mm256_xor_si256(load8(from + i), flip));
}

// 16 columns at a time: twelve accumulators hide the latency of the instruction.
void dot(const Dot &d) {
    for (int first = 0; first < d.cols; first += 16) {
        __m256i sum[TILE][2];
#pragma GCC unroll 6
        for (int r = 0; r < TILE; ++r) sum[r][0] = sum[r][1] = _mm256_setzero_si256();
        const int8_t *b = d.b + 4 * first;
        for (int s = 0; s < d.segments; ++s) {
            const uint8_t *a = d.a + static_cast<size_t>(s) * d.segment_bytes;
            for (int k = 0; k < d.k; k += 4, a += 4, b += 4 * d.cols) {
                const __m256i w0 = load8(b), w1 = load8(b + 32);
#pragma GCC unroll 6
                for (int r = 0; r < TILE; ++r) {
                    int32_t four;
                    memcpy(&four, a + static_cast<size_t>(r) * d.row_bytes, 4);
                    const __m256i x = _mm256_set1_epi32(four);
                    sum[r][0] = _mm256_dpbusd_avx_epi32(sum[r][0], x, w0);
                    sum[r][1] = _mm256_dpbusd_avx_epi32(sum[r][1], x, w1);
                }
            }
        }
#pragma GCC unroll 6
        for (int r = 0; r < TILE; ++r) {
            __m256i *to = reinterpret_cast<__m256i *>(d.out + r * PANEL + first);
            _mm256_storeu_si256(to, sum[r][0]);
            _mm256_storeu_si256(to + 1, sum[r][1]);
        }
    }
}

uint32_t softmax(const int16_t *scores, int32_t n, int32_t passes, uint8_t *high, uint8_t *low) {
    return avx2_softmax_of<uint8_t>(scores, n, passes, high, low);
}

}  // namespace

extern const Path path_avxvnni = {
    "avxvnni",
    TILE,
    4,
    16,
    1,
    128,
    0,
    false,
    pack,
    dot,
    avx2_finish8,
    avx2_finish16,
    plain_finish32,
    avx2_finish_gated,
    avx2_scores,
    softmax,
    plain_mix,
    plain_moments,
    avx2_normalise,
    plain_add_rows,
    plain_blend_line,
    plain_best_class,
    plain_checksum,
    nullptr,
    nullptr,
};

}  // namespace fast
#endif
