// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// AVX2: rows of 16-bit elements, pairs of products with vpmaddwd. Compiled with -mavx2.
#if defined(__x86_64__)
#include "avx2_rows.h"

namespace fast {
namespace {

constexpr int TILE = 4;

void pack(const int8_t *from, size_t n, uint8_t *to) {
    for (size_t i = 0; i < n; i += 16)
        _mm256_storeu_si256(
            reinterpret_cast<__m256i *>(to + 2 * i),
            _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i *>(from + i))));
}

// 16 columns at a time: eight accumulators, two vectors of weights, one of a row.
void dot(const Dot &d) {
    for (int first = 0; first < d.cols; first += 16) {
        __m256i sum[TILE][2];
#pragma GCC unroll 4
        for (int r = 0; r < TILE; ++r) sum[r][0] = sum[r][1] = _mm256_setzero_si256();
        const int8_t *b = d.b + 2 * first;
        for (int s = 0; s < d.segments; ++s) {
            const uint8_t *a = d.a + static_cast<size_t>(s) * d.segment_bytes;
            for (int k = 0; k < d.k; k += 2, a += 4, b += 2 * d.cols) {
                const __m128i *w = reinterpret_cast<const __m128i *>(b);
                const __m256i w0 = _mm256_cvtepi8_epi16(_mm_loadu_si128(w));
                const __m256i w1 = _mm256_cvtepi8_epi16(_mm_loadu_si128(w + 1));
#pragma GCC unroll 4
                for (int r = 0; r < TILE; ++r) {
                    int32_t two;
                    memcpy(&two, a + static_cast<size_t>(r) * d.row_bytes, 4);
                    const __m256i x = _mm256_set1_epi32(two);
                    sum[r][0] = _mm256_add_epi32(sum[r][0], _mm256_madd_epi16(x, w0));
                    sum[r][1] = _mm256_add_epi32(sum[r][1], _mm256_madd_epi16(x, w1));
                }
            }
        }
#pragma GCC unroll 4
        for (int r = 0; r < TILE; ++r) {
            __m256i *to = reinterpret_cast<__m256i *>(d.out + r * PANEL + first);
            _mm256_storeu_si256(to, sum[r][0]);
            _mm256_storeu_si256(to + 1, sum[r][1]);
        }
    }
}

uint32_t softmax(const int16_t *scores, int32_t n, int32_t passes, uint8_t *high, uint8_t *) {
    return avx2_softmax_of<int16_t>(scores, n, passes, reinterpret_cast<int16_t *>(high), nullptr);
}

}  // namespace

extern const Path path_avx2 = {
    "avx2",
    TILE,
    2,
    16,
    2,
    0,
    0,
    true,
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
