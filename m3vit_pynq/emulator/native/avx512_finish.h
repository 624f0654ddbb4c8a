// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// AVX-512: from accumulators to rows of a tensor.
#ifndef M3VIT_FAST_AVX512_FINISH_H
#define M3VIT_FAST_AVX512_FINISH_H

#include <immintrin.h>

#include "kernels.h"

namespace fast {
namespace {

// Even and odd lanes of 32 bits from the low halves of 64-bit ones.
static inline __m512i merge_even_odd(__m512i even, __m512i odd) {
    return _mm512_mask_shuffle_epi32(even, 0xAAAA, odd, _MM_PERM_CCAA);
}

// Parameters of 16 columns in registers.
struct Columns {
    __m512i bias, mult, mult_odd, half_even, half_odd, shift_even, shift_odd;
};

static inline Columns load_columns(const PanelParams &p, int c) {
    return {_mm512_loadu_si512(p.bias + c),     _mm512_loadu_si512(p.mult + c),
            _mm512_loadu_si512(p.mult_odd + c), _mm512_loadu_si512(p.half + c),
            _mm512_loadu_si512(p.half + c + 8), _mm512_loadu_si512(p.shift + c),
            _mm512_loadu_si512(p.shift + c + 8)};
}

// Even and odd results of requant of 16 columns, 64 bits each.
struct Wide {
    __m512i even, odd;
};

static inline Wide requantise_wide(const int32_t *acc, const Columns &k) {
    __m512i a = _mm512_add_epi32(_mm512_loadu_si512(acc), k.bias);
    a = _mm512_srai_epi32(_mm512_slli_epi32(a, 5), 5);  // wrap27
    const __m512i even = _mm512_mul_epi32(a, k.mult);
    const __m512i odd = _mm512_mul_epi32(_mm512_srli_epi64(a, 32), k.mult_odd);
    return {_mm512_srav_epi64(_mm512_add_epi64(even, k.half_even), k.shift_even),
            _mm512_srav_epi64(_mm512_add_epi64(odd, k.half_odd), k.shift_odd)};
}

static inline Wide saturate_wide(const Wide &w, int bits) {
    const int64_t limit = int64_t{1} << (bits - 1);
    const __m512i low = _mm512_set1_epi64(-limit), high = _mm512_set1_epi64(limit - 1);
    return {_mm512_min_epi64(_mm512_max_epi64(w.even, low), high),
            _mm512_min_epi64(_mm512_max_epi64(w.odd, low), high)};
}

// sat32 of 16 columns; shifts of at least 12 (NARROW) leave no more than 32 bits.
template <bool NARROW>
static inline __m512i requantise(const int32_t *acc, const Columns &k) {
    Wide w = requantise_wide(acc, k);
    if (!NARROW) w = saturate_wide(w, 32);
    return merge_even_odd(w.even, w.odd);
}

static inline __mmask64 first_bytes(int n) {
    return n >= 64 ? ~__mmask64{0} : (__mmask64{1} << n) - 1;
}

// Words or bytes of two or four vectors packed lane by lane, back in order.
static inline __m512i pack_words(__m512i a, __m512i b) {
    const __m512i order = _mm512_set_epi64(7, 5, 3, 1, 6, 4, 2, 0);
    return _mm512_permutexvar_epi64(order, _mm512_packs_epi32(a, b));
}

static inline __m512i pack_bytes(const __m512i v[4]) {
    const __m512i order = _mm512_set_epi32(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0);
    const __m512i words =
        _mm512_packs_epi16(_mm512_packs_epi32(v[0], v[1]), _mm512_packs_epi32(v[2], v[3]));
    return _mm512_permutexvar_epi32(order, words);
}

#if defined(__AVX512VBMI__)
struct ByteTable {
    __m512i part[4];
};

static inline ByteTable load_table(const void *table) {
    const uint8_t *at = static_cast<const uint8_t *>(table);
    return {{_mm512_loadu_si512(at), _mm512_loadu_si512(at + 64), _mm512_loadu_si512(at + 128),
             _mm512_loadu_si512(at + 192)}};
}

static inline __m512i look_up(const ByteTable &t, __m512i index) {
    const __m512i low = _mm512_permutex2var_epi8(t.part[0], index, t.part[1]);
    const __m512i high = _mm512_permutex2var_epi8(t.part[2], index, t.part[3]);
    return _mm512_mask_mov_epi8(low, _mm512_movepi8_mask(index), high);
}
#endif

template <bool NARROW>
static inline void finish8_of(const int32_t *acc, int32_t rows, const PanelParams &p,
                              int32_t activation, const int8_t *gelu, uint8_t *const *to) {
    const __mmask64 valid = first_bytes(p.valid);
    const ByteTable table =
        load_table(activation == m3vit::ACTIVATION_GELU ? static_cast<const void *>(gelu)
                                                        : static_cast<const void *>(p.half));
    const __m512i flip = _mm512_set1_epi8(-128);
    const Columns k[4] = {load_columns(p, 0), load_columns(p, 16), load_columns(p, 32),
                          load_columns(p, 48)};
    for (int r = 0; r < rows; ++r) {
        __m512i v[4];
        for (int i = 0; i < 4; ++i) v[i] = requantise<NARROW>(acc + r * PANEL + 16 * i, k[i]);
        __m512i q = pack_bytes(v);
        if (activation == m3vit::ACTIVATION_RELU)
            q = _mm512_max_epi8(q, _mm512_setzero_si512());
        else if (activation == m3vit::ACTIVATION_GELU)
            q = look_up(table, _mm512_xor_si512(q, flip));
        _mm512_storeu_si512(to[r], _mm512_maskz_mov_epi8(valid, q));
    }
}

static void avx512_finish8(const int32_t *acc, int32_t rows, const PanelParams &p,
                           int32_t activation, const int8_t *gelu, uint8_t *const *to) {
    if (p.narrow) return finish8_of<true>(acc, rows, p, activation, gelu, to);
    finish8_of<false>(acc, rows, p, activation, gelu, to);
}

template <bool NARROW>
static inline void finish16_of(const int32_t *acc, int32_t rows, const PanelParams &p, bool add,
                               uint8_t *const *to) {
    for (int c = 0; c < p.valid; c += 32) {
        const Columns k[2] = {load_columns(p, c), load_columns(p, c + 16)};
        const __mmask32 valid = static_cast<__mmask32>(first_bytes(p.valid - c));
        for (int r = 0; r < rows; ++r) {
            const int32_t *a = acc + r * PANEL + c;
            __m512i q = pack_words(requantise<NARROW>(a, k[0]), requantise<NARROW>(a + 16, k[1]));
            if (add) q = _mm512_adds_epi16(q, _mm512_loadu_si512(to[r] + 2 * c));
            _mm512_storeu_si512(to[r] + 2 * c, _mm512_maskz_mov_epi16(valid, q));
        }
    }
}

static void avx512_finish16(const int32_t *acc, int32_t rows, const PanelParams &p, bool add,
                            uint8_t *const *to) {
    if (p.narrow) return finish16_of<true>(acc, rows, p, add, to);
    finish16_of<false>(acc, rows, p, add, to);
}

static void avx512_finish32(const int32_t *acc, int32_t rows, const PanelParams &p,
                            uint8_t *const *to) {
    for (int c = 0; c < p.valid; c += 16) {
        const Columns k = load_columns(p, c);
        const __mmask16 valid = static_cast<__mmask16>(first_bytes(p.valid - c));
        for (int r = 0; r < rows; ++r) {
            const __m512i q = requantise<false>(acc + r * PANEL + c, k);
            _mm512_storeu_si512(to[r] + 4 * c, _mm512_maskz_mov_epi32(valid, q));
        }
    }
}

// rshift(sat27(fine) * gate, 24) of 16 columns.
static inline __m512i gated(const int32_t *acc, const Columns &k, __m512i gate) {
    const Wide fine = saturate_wide(requantise_wide(acc, k), 27);
    const __m512i half = _mm512_set1_epi64(1 << 23);
    const __m512i even = _mm512_add_epi64(_mm512_mul_epi32(fine.even, gate), half);
    const __m512i odd = _mm512_add_epi64(_mm512_mul_epi32(fine.odd, gate), half);
    return merge_even_odd(_mm512_srai_epi64(even, 24), _mm512_srai_epi64(odd, 24));
}

static void avx512_finish_gated(const int32_t *acc, int32_t rows, const PanelParams &p,
                                const uint16_t *gates, uint8_t *const *to) {
    for (int c = 0; c < p.valid; c += 32) {
        const Columns k[2] = {load_columns(p, c), load_columns(p, c + 16)};
        const __mmask32 valid = static_cast<__mmask32>(first_bytes(p.valid - c));
        for (int r = 0; r < rows; ++r) {
            const int32_t *a = acc + r * PANEL + c;
            const __m512i gate = _mm512_set1_epi32(gates[r]);
            const __m512i q = pack_words(gated(a, k[0], gate), gated(a + 16, k[1], gate));
            _mm512_storeu_si512(to[r] + 2 * c, _mm512_maskz_mov_epi16(valid, q));
        }
    }
}

}  // namespace
}  // namespace fast

#endif
