// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// AVX-512: scores, probabilities and means of attention; LAYERNORM.
#ifndef M3VIT_FAST_AVX512_ROWS_H
#define M3VIT_FAST_AVX512_ROWS_H

#include "avx512_finish.h"

namespace fast {
namespace {

static inline __m512i scaled(__m512i a, __m512i mult, __m512i half, __m128i shift) {
    __m512i even = _mm512_mul_epi32(a, mult);
    __m512i odd = _mm512_mul_epi32(_mm512_srli_epi64(a, 32), mult);
    even = _mm512_sra_epi64(_mm512_add_epi64(even, half), shift);
    odd = _mm512_sra_epi64(_mm512_add_epi64(odd, half), shift);
    return merge_even_odd(even, odd);
}

// A product has 37 bits: shifts of at least 6 leave 32.
static void avx512_scores(const int32_t *acc, int32_t rows, const int32_t *offsets, int32_t valid,
                          const ScoreScale &scale, int16_t *to, size_t stride) {
    if (scale.shift < 6) return plain_scores(acc, rows, offsets, valid, scale, to, stride);
    const __m512i mult = _mm512_set1_epi32(scale.mult);
    const __m512i half = _mm512_set1_epi64(int64_t{1} << (scale.shift - 1));
    const __m128i shift = _mm_cvtsi32_si128(scale.shift);
    const __m512i none = _mm512_set1_epi16(-32768);
    for (int c = 0; c < PANEL; c += 32) {
        const __m512i offset0 = _mm512_loadu_si512(offsets + c);
        const __m512i offset1 = _mm512_loadu_si512(offsets + c + 16);
        const __mmask32 real = static_cast<__mmask32>(valid > c ? first_bytes(valid - c) : 0);
        for (int r = 0; r < rows; ++r) {
            const int32_t *a = acc + r * PANEL + c;
            const __m512i low = _mm512_add_epi32(_mm512_loadu_si512(a), offset0);
            const __m512i high = _mm512_add_epi32(_mm512_loadu_si512(a + 16), offset1);
            const __m512i q =
                pack_words(scaled(low, mult, half, shift), scaled(high, mult, half, shift));
            _mm512_storeu_si512(to + static_cast<size_t>(r) * stride + c,
                                _mm512_mask_mov_epi16(none, real, q));
        }
    }
}

struct ExpTable {
    alignas(64) uint8_t low[256];
    alignas(64) uint8_t high[256];
};

constexpr ExpTable make_exp_table() {
    ExpTable t{};
    for (int i = 0; i < 256; ++i) {
        t.low[i] = static_cast<uint8_t>(m3vit::EXP_TABLE[i] & 255);
        t.high[i] = static_cast<uint8_t>(m3vit::EXP_TABLE[i] >> 8);
    }
    return t;
}

constexpr ExpTable EXP_BYTES = make_exp_table();

// Byte pairs: low and high bytes of 32 words from vectors of 64 low and 64 high ones.
struct Interleave {
    alignas(64) uint8_t first[64], second[64], even[64];
};

constexpr Interleave make_interleave() {
    Interleave t{};
    for (int i = 0; i < 32; ++i) {
        t.first[2 * i] = static_cast<uint8_t>(i);
        t.first[2 * i + 1] = static_cast<uint8_t>(64 + i);
        t.second[2 * i] = static_cast<uint8_t>(32 + i);
        t.second[2 * i + 1] = static_cast<uint8_t>(96 + i);
        t.even[i] = static_cast<uint8_t>(2 * i);
        t.even[32 + i] = static_cast<uint8_t>(64 + 2 * i);
    }
    return t;
}

constexpr Interleave INTERLEAVE = make_interleave();

// rshift(EXP, octaves + 4 - 4 * two) of 32 words; from 17 on every shift gives 0.
static inline __m512i shifted_exp(__m512i exp, __m512i delta, __m512i extra) {
    const __m512i octaves = _mm512_min_epu16(_mm512_srli_epi16(delta, 8), _mm512_set1_epi16(13));
    const __m512i count = _mm512_add_epi16(octaves, extra);
    const __m512i half = _mm512_srli_epi16(_mm512_sllv_epi16(_mm512_set1_epi16(1), count), 1);
    return _mm512_srlv_epi16(_mm512_add_epi16(exp, half), count);
}

static inline int largest_score(const int16_t *scores, int padded) {
    __m512i m = _mm512_loadu_si512(scores);
    for (int j = 32; j < padded; j += 32) m = _mm512_max_epi16(m, _mm512_loadu_si512(scores + j));
    const __m512i high = _mm512_srai_epi32(m, 16);
    const __m512i low = _mm512_srai_epi32(_mm512_slli_epi32(m, 16), 16);
    return _mm512_reduce_max_epi32(_mm512_max_epi32(low, high));
}

// Padding of the scores holds -32768, which is never above the maximum.
template <bool TWO>
static inline uint32_t avx512_softmax_of(const int16_t *scores, int32_t n, uint8_t *high,
                                         uint8_t *low) {
    const int padded = (n + PANEL - 1) / PANEL * PANEL;
    const __m512i maximum = _mm512_set1_epi16(static_cast<int16_t>(largest_score(scores, padded)));
    const ByteTable table_low = load_table(EXP_BYTES.low), table_high = load_table(EXP_BYTES.high);
    const __m512i first = _mm512_loadu_si512(INTERLEAVE.first);
    const __m512i second = _mm512_loadu_si512(INTERLEAVE.second);
    const __m512i even = _mm512_loadu_si512(INTERLEAVE.even);
    const __m512i extra = _mm512_set1_epi16(TWO ? 0 : 4);
    __m512i sum = _mm512_setzero_si512();
    for (int j = 0; j < padded; j += PANEL) {
        const __m512i d0 = _mm512_sub_epi16(maximum, _mm512_loadu_si512(scores + j));
        const __m512i d1 = _mm512_sub_epi16(maximum, _mm512_loadu_si512(scores + j + 32));
        const __m512i f = _mm512_permutex2var_epi8(d0, even, d1);
        const __m512i bytes_low = look_up(table_low, f), bytes_high = look_up(table_high, f);
        const __m512i e0 = _mm512_permutex2var_epi8(bytes_low, first, bytes_high);
        const __m512i e1 = _mm512_permutex2var_epi8(bytes_low, second, bytes_high);
        const __m512i p0 = shifted_exp(e0, d0, extra), p1 = shifted_exp(e1, d1, extra);
        const __mmask64 real = first_bytes(n - j);
        if (TWO) {
            const __m512i fraction = _mm512_permutex2var_epi8(p0, even, p1);
            const __m512i whole =
                _mm512_permutex2var_epi8(_mm512_srli_epi16(p0, 4), even, _mm512_srli_epi16(p1, 4));
            const __m512i h = _mm512_maskz_mov_epi8(real, whole);
            const __m512i l =
                _mm512_maskz_mov_epi8(real, _mm512_and_si512(fraction, _mm512_set1_epi8(15)));
            _mm512_storeu_si512(high + j, h);
            _mm512_storeu_si512(low + j, l);
            const __m512i zero = _mm512_setzero_si512();
            sum = _mm512_add_epi64(sum, _mm512_slli_epi64(_mm512_sad_epu8(h, zero), 4));
            sum = _mm512_add_epi64(sum, _mm512_sad_epu8(l, zero));
        } else {
            const __m512i p = _mm512_maskz_mov_epi8(real, _mm512_permutex2var_epi8(p0, even, p1));
            _mm512_storeu_si512(high + j, p);
            sum = _mm512_add_epi64(sum, _mm512_sad_epu8(p, _mm512_setzero_si512()));
        }
    }
    return static_cast<uint32_t>(_mm512_reduce_add_epi64(sum));
}

static uint32_t avx512_softmax(const int16_t *scores, int32_t n, int32_t passes, uint8_t *high,
                               uint8_t *low) {
    return passes == 1 ? avx512_softmax_of<false>(scores, n, high, low)
                       : avx512_softmax_of<true>(scores, n, high, low);
}

static void avx512_mix(const int32_t *a, int32_t n, int32_t first, int32_t mult, int32_t shift,
                       int8_t *to) {
    if (shift < 12) return plain_mix(a, n, first, mult, shift, to);
    const __m512i m = _mm512_set1_epi32(mult);
    const __m512i half = _mm512_set1_epi64(int64_t{1} << (shift - 1));
    const __m512i first_half = _mm512_set1_epi32((1 << first) >> 1);
    const __m128i s = _mm_cvtsi32_si128(shift), s0 = _mm_cvtsi32_si128(first);
    for (int c = 0; c < n; c += 16) {
        __m512i v = _mm512_add_epi32(_mm512_loadu_si512(a + c), first_half);
        v = scaled(_mm512_sra_epi32(v, s0), m, half, s);
        _mm_storeu_si128(reinterpret_cast<__m128i *>(to + c), _mm512_cvtsepi32_epi8(v));
    }
}

static void avx512_moments(const int16_t *x, int32_t n, int32_t *sum, uint64_t *squares) {
    const __m512i one = _mm512_set1_epi16(1), low = _mm512_set1_epi64(0xffffffff);
    __m512i s = _mm512_setzero_si512(), q = s;
    for (int i = 0; i < n; i += 32) {
        const __m512i v =
            _mm512_maskz_loadu_epi16(static_cast<__mmask32>(first_bytes(n - i)), x + i);
        const __m512i square = _mm512_madd_epi16(v, v);  // up to 2^31: no sign
        s = _mm512_add_epi32(s, _mm512_madd_epi16(v, one));
        q = _mm512_add_epi64(q, _mm512_and_si512(square, low));
        q = _mm512_add_epi64(q, _mm512_srli_epi64(square, 32));
    }
    *sum = _mm512_reduce_add_epi32(s);
    *squares = static_cast<uint64_t>(_mm512_reduce_add_epi64(q));
}

static void avx512_normalise(const Normalise &a) {
    const __m512i n = _mm512_set1_epi32(a.n), sum = _mm512_set1_epi32(a.sum);
    const __m512i inverse = _mm512_set1_epi32(a.inverse);
    const __m512i half = _mm512_set1_epi64(int64_t{1} << (a.z_shift - 1));
    const __m128i z_shift = _mm_cvtsi32_si128(a.z_shift), shift = _mm_cvtsi32_si128(a.shift);
    const int padded = (a.n + 63) / 64 * 64;
    for (int i = 0; i < padded; i += 16) {
        const __mmask16 real = static_cast<__mmask16>(a.n > i ? first_bytes(a.n - i) : 0);
        const __m512i x = _mm512_cvtepi16_epi32(_mm256_maskz_loadu_epi16(real, a.x + i));
        const __m512i d = _mm512_sub_epi32(_mm512_mullo_epi32(x, n), sum);
        __m512i even = _mm512_mul_epi32(d, inverse);
        __m512i odd = _mm512_mul_epi32(_mm512_srli_epi64(d, 32), inverse);
        even = _mm512_sra_epi64(_mm512_add_epi64(even, half), z_shift);
        odd = _mm512_sra_epi64(_mm512_add_epi64(odd, half), z_shift);
        even = _mm512_mul_epi32(even, _mm512_loadu_si512(a.gamma + i));
        odd = _mm512_mul_epi32(odd, _mm512_loadu_si512(a.gamma_odd + i));
        even = _mm512_sra_epi64(_mm512_add_epi64(even, _mm512_loadu_si512(a.beta + i)), shift);
        odd = _mm512_sra_epi64(_mm512_add_epi64(odd, _mm512_loadu_si512(a.beta + i + 8)), shift);
        const __m128i bytes =
            _mm_unpacklo_epi8(_mm512_cvtsepi64_epi8(even), _mm512_cvtsepi64_epi8(odd));
        _mm_storeu_si128(reinterpret_cast<__m128i *>(a.out + i), _mm_maskz_mov_epi8(real, bytes));
    }
}

static void avx512_pack(const int8_t *from, size_t n, uint8_t *to) {
    const __m512i flip = _mm512_set1_epi8(-128);
    for (size_t i = 0; i < n; i += 64)
        _mm512_storeu_si512(to + i, _mm512_xor_si512(_mm512_loadu_si512(from + i), flip));
}

}  // namespace
}  // namespace fast

#endif
