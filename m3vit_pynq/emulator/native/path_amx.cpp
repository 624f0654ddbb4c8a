// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// AMX: 16 x 16 results of 64 products each in one instruction; everything else is
// AVX-512. Compiled with the flags of AVX-512 and -mamx-tile -mamx-int8.
#if defined(__x86_64__)
#include "avx512_rows.h"

namespace fast {
namespace {

constexpr int TILE = 32;

// Tiles 0 to 3 hold results, 4 and 5 rows, 6 and 7 weights; all are whole.
struct alignas(64) TileConfig {
    uint8_t palette, start, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

constexpr TileConfig CONFIG = {
    1, 0, {}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};

// A thread has its tiles only while it multiplies: saving them costs at every switch of
// threads, and a forked child does not inherit them.
// GCC's intrinsic tells the compiler of the first bytes only.
void configure() { __asm__ volatile("ldtilecfg %0" : : "m"(CONFIG)); }

void release() { _tile_release(); }

void pack(const int8_t *from, size_t n, uint8_t *to) { memcpy(to, from, n); }

// The instruction takes tile numbers as constants.
#define M3VIT_PRODUCT(c, a, b)     \
    do {                           \
        if (UNSIGNED)              \
            _tile_dpbusd(c, a, b); \
        else                       \
            _tile_dpbssd(c, a, b); \
    } while (0)

// 32 (TALL) or 16 rows and 32 (BROAD) or 16 columns from `first` on.
template <bool UNSIGNED, bool TALL, bool BROAD>
void block(const Dot &d, int first) {
    _tile_zero(0);
    if (BROAD) _tile_zero(1);
    if (TALL) _tile_zero(2);
    if (TALL && BROAD) _tile_zero(3);
    const size_t stride = d.row_bytes, weight_stride = 4 * static_cast<size_t>(d.cols);
    const int8_t *b = d.b + 4 * first;
    for (int s = 0; s < d.segments; ++s) {
        const uint8_t *a = d.a + static_cast<size_t>(s) * d.segment_bytes;
        for (int k = 0; k < d.k; k += 64, a += 64, b += 16 * weight_stride) {
            _tile_loadd(4, a, stride);
            if (TALL) _tile_loadd(5, a + 16 * stride, stride);
            _tile_loadd(6, b, weight_stride);
            M3VIT_PRODUCT(0, 4, 6);
            if (TALL) M3VIT_PRODUCT(2, 5, 6);
            if (BROAD) {
                _tile_loadd(7, b + 64, weight_stride);
                M3VIT_PRODUCT(1, 4, 7);
                if (TALL) M3VIT_PRODUCT(3, 5, 7);
            }
        }
    }
    int32_t *out = d.out + first;
    constexpr size_t OUT = PANEL * sizeof(int32_t);
    _tile_stored(0, out, OUT);
    if (BROAD) _tile_stored(1, out + 16, OUT);
    if (TALL) _tile_stored(2, out + 16 * PANEL, OUT);
    if (TALL && BROAD) _tile_stored(3, out + 16 * PANEL + 16, OUT);
}

template <bool UNSIGNED, bool TALL>
void dot_of(const Dot &d) {
    int first = 0;
    for (; first + 32 <= d.cols; first += 32) block<UNSIGNED, TALL, true>(d, first);
    if (first < d.cols) block<UNSIGNED, TALL, false>(d, first);
}

void dot(const Dot &d) {
    __asm__ volatile("" : : : "memory");  // the intrinsics do not say that they read
    const bool tall = d.rows > 16;
    if (d.is_unsigned) return tall ? dot_of<true, true>(d) : dot_of<true, false>(d);
    return tall ? dot_of<false, true>(d) : dot_of<false, false>(d);
}

}  // namespace

extern const Path path_amx = {
    "amx",
    TILE,
    4,
    64,
    1,
    0,
    0,
    false,
    pack,
    dot,
    avx512_finish8,
    avx512_finish16,
    avx512_finish32,
    avx512_finish_gated,
    avx512_scores,
    avx512_softmax,
    avx512_mix,
    avx512_moments,
    avx512_normalise,
    plain_add_rows,
    plain_blend_line,
    plain_best_class,
    plain_checksum,
    configure,
    release,
};

}  // namespace fast
#endif
