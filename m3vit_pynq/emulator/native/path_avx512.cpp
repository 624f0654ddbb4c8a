// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// AVX-512 with VNNI and VBMI. Compiled with -mavx512f -mavx512bw -mavx512dq
// -mavx512vl -mavx512vbmi -mavx512vnni.
#if defined(__x86_64__)
#include "avx512_rows.h"

namespace fast {
namespace {

constexpr int TILE = 4;

// The accumulators of four rows and 16 * V columns stay in registers.
template <int V>
void dot_of(const Dot &d) {
    __m512i sum[TILE][V];
#pragma GCC unroll 4
    for (int r = 0; r < TILE; ++r)
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) sum[r][v] = _mm512_setzero_si512();
    const int8_t *b = d.b;
    for (int s = 0; s < d.segments; ++s) {
        const uint8_t *a = d.a + static_cast<size_t>(s) * d.segment_bytes;
        for (int k = 0; k < d.k; k += 4, a += 4, b += 64 * V) {
            __m512i w[V];
            for (int v = 0; v < V; ++v) w[v] = _mm512_loadu_si512(b + 64 * v);
            for (int r = 0; r < TILE; ++r) {
                int32_t four;
                memcpy(&four, a + static_cast<size_t>(r) * d.row_bytes, 4);
                const __m512i x = _mm512_set1_epi32(four);
                for (int v = 0; v < V; ++v) sum[r][v] = _mm512_dpbusd_epi32(sum[r][v], x, w[v]);
            }
        }
    }
#pragma GCC unroll 4
    for (int r = 0; r < TILE; ++r)
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) _mm512_storeu_si512(d.out + r * PANEL + 16 * v, sum[r][v]);
}

void dot(const Dot &d) {
    switch (d.cols) {
    case 16: return dot_of<1>(d);
    case 32: return dot_of<2>(d);
    case 48: return dot_of<3>(d);
    default: return dot_of<4>(d);
    }
}

}  // namespace

extern const Path path_avx512 = {
    "avx512",
    TILE,
    4,
    16,
    1,
    128,
    0,
    false,
    avx512_pack,
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
    nullptr,
    nullptr,
};

}  // namespace fast
#endif
