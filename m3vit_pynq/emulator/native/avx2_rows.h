// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// AVX2: epilogues and the rows of attention, eight columns at a time.
#ifndef M3VIT_FAST_AVX2_ROWS_H
#define M3VIT_FAST_AVX2_ROWS_H

#include <immintrin.h>

#include "kernels.h"

namespace fast {
namespace {

static inline __m256i load8(const void *p) {
    return _mm256_loadu_si256(static_cast<const __m256i *>(p));
}

// The processor has no arithmetic shift of 64 bits: shift without sign, then put it back.
static inline __m256i shift_right(__m256i x, __m256i count) {
    const __m256i sign = _mm256_set1_epi64x(INT64_MIN);
    const __m256i moved = _mm256_srlv_epi64(sign, count);
    return _mm256_sub_epi64(_mm256_xor_si256(_mm256_srlv_epi64(x, count), moved), moved);
}

static inline __m256i merge_even_odd8(__m256i even, __m256i odd) {
    return _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xAA);
}

// Even and odd results of requant of columns c to c + 7, 64 bits each.
struct Wide8 {
    __m256i even, odd;
};

static inline Wide8 requantise_wide8(const int32_t *acc, const PanelParams &p, int c) {
    const int at = (c & ~15) | ((c & 8) >> 1);  // of the even columns, the odd ones 8 behind
    __m256i a = _mm256_add_epi32(load8(acc + c), load8(p.bias + c));
    a = _mm256_srai_epi32(_mm256_slli_epi32(a, 5), 5);  // wrap27
    const __m256i even = _mm256_mul_epi32(a, load8(p.mult + c));
    const __m256i odd = _mm256_mul_epi32(_mm256_srli_epi64(a, 32), load8(p.mult_odd + c));
    return {shift_right(_mm256_add_epi64(even, load8(p.half + at)), load8(p.shift + at)),
            shift_right(_mm256_add_epi64(odd, load8(p.half + at + 8)), load8(p.shift + at + 8))};
}

static inline __m256i clamp64(__m256i x, int64_t limit) {
    const __m256i low = _mm256_set1_epi64x(-limit), high = _mm256_set1_epi64x(limit - 1);
    x = _mm256_blendv_epi8(x, high, _mm256_cmpgt_epi64(x, high));
    return _mm256_blendv_epi8(x, low, _mm256_cmpgt_epi64(low, x));
}

// sat32; panels without shifts below 12 need no saturation.
static inline __m256i requantise8(const int32_t *acc, const PanelParams &p, int c) {
    Wide8 w = requantise_wide8(acc, p, c);
    if (!p.narrow) w = {clamp64(w.even, int64_t{1} << 31), clamp64(w.odd, int64_t{1} << 31)};
    return merge_even_odd8(w.even, w.odd);
}

static void avx2_finish8(const int32_t *acc, int32_t rows, const PanelParams &p, int32_t activation,
                         const int8_t *gelu, uint8_t *const *to) {
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    for (int r = 0; r < rows; ++r, acc += PANEL) {
        alignas(32) int8_t line[PANEL];
        for (int c = 0; c < PANEL; c += 32) {
            const __m256i low =
                _mm256_packs_epi32(requantise8(acc, p, c), requantise8(acc, p, c + 8));
            const __m256i high =
                _mm256_packs_epi32(requantise8(acc, p, c + 16), requantise8(acc, p, c + 24));
            __m256i q = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(low, high), order);
            if (activation == m3vit::ACTIVATION_RELU)
                q = _mm256_max_epi8(q, _mm256_setzero_si256());
            _mm256_store_si256(reinterpret_cast<__m256i *>(line + c), q);
        }
        if (activation == m3vit::ACTIVATION_GELU)
            for (int c = 0; c < p.valid; ++c) line[c] = gelu[line[c] + 128];
        memset(line + p.valid, 0, static_cast<size_t>(PANEL - p.valid));
        memcpy(to[r], line, PANEL);
    }
}

static void avx2_finish16(const int32_t *acc, int32_t rows, const PanelParams &p, bool add,
                          uint8_t *const *to) {
    const size_t bytes = 64u * static_cast<size_t>(plain_lines(p.valid, 2));
    for (int r = 0; r < rows; ++r, acc += PANEL) {
        alignas(32) int16_t line[PANEL] = {};
        for (int c = 0; c < p.valid; c += 16) {
            __m256i q = _mm256_packs_epi32(requantise8(acc, p, c), requantise8(acc, p, c + 8));
            q = _mm256_permute4x64_epi64(q, 0xD8);
            if (add) q = _mm256_adds_epi16(q, load8(to[r] + 2 * c));
            _mm256_store_si256(reinterpret_cast<__m256i *>(line + c), q);
        }
        memset(line + p.valid, 0, 2 * static_cast<size_t>(PANEL - p.valid));
        memcpy(to[r], line, bytes);
    }
}

static void avx2_finish_gated(const int32_t *acc, int32_t rows, const PanelParams &p,
                              const uint16_t *gates, uint8_t *const *to) {
    const size_t bytes = 64u * static_cast<size_t>(plain_lines(p.valid, 2));
    const __m256i half = _mm256_set1_epi64x(1 << 23), count = _mm256_set1_epi64x(24);
    for (int r = 0; r < rows; ++r, acc += PANEL) {
        const __m256i gate = _mm256_set1_epi32(gates[r]);
        alignas(32) int32_t fine[PANEL] = {};
        int16_t line[PANEL] = {};
        for (int c = 0; c < p.valid; c += 8) {
            const Wide8 w = requantise_wide8(acc, p, c);
            __m256i even = _mm256_mul_epi32(clamp64(w.even, 1 << 26), gate);
            __m256i odd = _mm256_mul_epi32(clamp64(w.odd, 1 << 26), gate);
            even = shift_right(_mm256_add_epi64(even, half), count);
            odd = shift_right(_mm256_add_epi64(odd, half), count);
            const __m256i v = merge_even_odd8(even, odd);
            _mm256_store_si256(reinterpret_cast<__m256i *>(fine + c), v);
        }
        for (int c = 0; c < p.valid; ++c)
            line[c] = static_cast<int16_t>(plain_clamp(fine[c], -32768, 32767));
        memcpy(to[r], line, bytes);
    }
}

static void avx2_scores(const int32_t *acc, int32_t rows, const int32_t *offsets, int32_t valid,
                        const ScoreScale &scale, int16_t *to, size_t stride) {
    if (scale.shift < 6) return plain_scores(acc, rows, offsets, valid, scale, to, stride);
    const __m256i mult = _mm256_set1_epi32(scale.mult);
    const __m256i half = _mm256_set1_epi64x(int64_t{1} << (scale.shift - 1));
    const __m256i count = _mm256_set1_epi64x(scale.shift);
    const auto scaled = [&](const int32_t *a, const int32_t *offset) {
        const __m256i v = _mm256_add_epi32(load8(a), load8(offset));
        __m256i even = _mm256_mul_epi32(v, mult);
        __m256i odd = _mm256_mul_epi32(_mm256_srli_epi64(v, 32), mult);
        even = shift_right(_mm256_add_epi64(even, half), count);
        odd = shift_right(_mm256_add_epi64(odd, half), count);
        return merge_even_odd8(even, odd);
    };
    for (int r = 0; r < rows; ++r, acc += PANEL) {
        int16_t *row = to + static_cast<size_t>(r) * stride;
        for (int c = 0; c < PANEL; c += 16) {
            const __m256i q = _mm256_packs_epi32(scaled(acc + c, offsets + c),
                                                 scaled(acc + c + 8, offsets + c + 8));
            _mm256_storeu_si256(reinterpret_cast<__m256i *>(row + c),
                                _mm256_permute4x64_epi64(q, 0xD8));
        }
        for (int c = valid; c < PANEL; ++c) row[c] = -32768;
    }
}

// Probabilities of eight scores as 32-bit numbers; shifts of 32 and more give 0.
static inline __m256i probabilities(const int16_t *scores, __m256i maximum, __m256i extra) {
    const __m256i s =
        _mm256_cvtepi16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i *>(scores)));
    const __m256i delta = _mm256_sub_epi32(maximum, s);
    const __m256i index = _mm256_and_si256(delta, _mm256_set1_epi32(255));
    const __m256i exp = _mm256_i32gather_epi32(m3vit::EXP_TABLE, index, 4);
    const __m256i octaves = _mm256_min_epi32(_mm256_srli_epi32(delta, 8), _mm256_set1_epi32(31));
    const __m256i count = _mm256_add_epi32(octaves, extra);
    const __m256i half = _mm256_srli_epi32(_mm256_sllv_epi32(_mm256_set1_epi32(1), count), 1);
    return _mm256_srlv_epi32(_mm256_add_epi32(exp, half), count);
}

static inline __m256i largest8(const int16_t *scores, int padded) {
    __m256i m = load8(scores);
    for (int j = 16; j < padded; j += 16) m = _mm256_max_epi16(m, load8(scores + j));
    alignas(32) int16_t lanes[16];
    _mm256_store_si256(reinterpret_cast<__m256i *>(lanes), m);
    return _mm256_set1_epi32(plain_maximum(lanes, 16));
}

// Elements of `Element` in memory; the padding of the scores is -32768.
template <typename Element>
static inline uint32_t avx2_softmax_of(const int16_t *scores, int32_t n, int32_t passes,
                                       Element *high, Element *low) {
    const int padded = (n + PANEL - 1) / PANEL * PANEL;
    const __m256i maximum = largest8(scores, padded);
    const __m256i extra = _mm256_set1_epi32(passes == 1 ? 4 : 0);
    const bool split = passes != 1 && sizeof(Element) == 1;
    uint32_t sum = 0;
    for (int j = 0; j < padded; j += 8) {
        alignas(32) uint32_t p[8];
        _mm256_store_si256(reinterpret_cast<__m256i *>(p),
                           probabilities(scores + j, maximum, extra));
        for (int k = 0; k < 8; ++k) {
            const uint32_t value = j + k < n ? p[k] : 0;
            sum += value;
            high[j + k] = static_cast<Element>(split ? value >> 4 : value);
            if (split) low[j + k] = static_cast<Element>(value & 15);
        }
    }
    return sum;
}

static void avx2_normalise(const Normalise &a) {
    const __m256i n = _mm256_set1_epi32(a.n), sum = _mm256_set1_epi32(a.sum);
    const __m256i inverse = _mm256_set1_epi32(a.inverse);
    const __m256i half = _mm256_set1_epi64x(int64_t{1} << (a.z_shift - 1));
    const __m256i z_shift = _mm256_set1_epi64x(a.z_shift), shift = _mm256_set1_epi64x(a.shift);
    const auto scaled = [&](__m256i d, const int32_t *gamma, const int64_t *beta) {
        const __m256i product = _mm256_add_epi64(_mm256_mul_epi32(d, inverse), half);
        const __m256i z = shift_right(product, z_shift);
        const __m256i y = _mm256_add_epi64(_mm256_mul_epi32(z, load8(gamma)), load8(beta));
        return clamp64(shift_right(y, shift), 128);
    };
    int i = 0;
    for (; i + 8 <= a.n; i += 8) {
        const __m256i x =
            _mm256_cvtepi16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i *>(a.x + i)));
        const __m256i d = _mm256_sub_epi32(_mm256_mullo_epi32(x, n), sum);
        const int at = (i & ~15) | ((i & 8) >> 1);
        const __m256i even = scaled(d, a.gamma + i, a.beta + at);
        const __m256i odd = scaled(_mm256_srli_epi64(d, 32), a.gamma_odd + i, a.beta + at + 8);
        alignas(32) int32_t y[8];
        _mm256_store_si256(reinterpret_cast<__m256i *>(y), merge_even_odd8(even, odd));
        for (int k = 0; k < 8; ++k) a.out[i + k] = static_cast<int8_t>(y[k]);
    }
    plain_normalise_from(a, i);
}

}  // namespace
}  // namespace fast

#endif
