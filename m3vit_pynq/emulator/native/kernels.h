// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// Plain C++ of everything a path has to do, for the paths to take what they do
// not write themselves. Everything is static: see path.h.
#ifndef M3VIT_FAST_KERNELS_H
#define M3VIT_FAST_KERNELS_H

#include <string.h>

#include "generated/abi.h"
#include "path.h"

namespace fast {
namespace {

static inline int64_t plain_rshift(int64_t x, int n) {
    const uint64_t half = (uint64_t{1} << n) >> 1;
    return static_cast<int64_t>(static_cast<uint64_t>(x) + half) >> n;
}

static inline int64_t plain_clamp(int64_t x, int64_t low, int64_t high) {
    return x < low ? low : x > high ? high : x;
}

static inline int64_t plain_saturate(int64_t x, int bits) {
    const int64_t limit = int64_t{1} << (bits - 1);
    return plain_clamp(x, -limit, limit - 1);
}

static inline int32_t plain_wrap27(int32_t acc, int32_t bias) {
    const uint32_t sum = static_cast<uint32_t>(acc) + static_cast<uint32_t>(bias);
    return static_cast<int32_t>(sum << 5) >> 5;
}

// requant(acc, M, s), not yet saturated.
static inline int64_t plain_requant(const int32_t *acc, const PanelParams &p, int c) {
    return plain_rshift(static_cast<int64_t>(plain_wrap27(acc[c], p.bias[c])) * p.mult[c],
                        p.plain_shift[c]);
}

// Lines that `valid` elements of `size` bytes fill.
static inline int plain_lines(int valid, int size) { return (valid * size + 63) / 64; }

__attribute__((unused)) static void plain_finish8(const int32_t *acc, int32_t rows,
                                                  const PanelParams &p, int32_t activation,
                                                  const int8_t *gelu, uint8_t *const *to) {
    for (int r = 0; r < rows; ++r) {
        int8_t line[PANEL] = {};
        for (int c = 0; c < p.valid; ++c) {
            int q = static_cast<int>(plain_saturate(plain_requant(acc + r * PANEL, p, c), 8));
            if (activation == m3vit::ACTIVATION_RELU)
                q = q < 0 ? 0 : q;
            else if (activation == m3vit::ACTIVATION_GELU)
                q = gelu[q + 128];
            line[c] = static_cast<int8_t>(q);
        }
        memcpy(to[r], line, PANEL);
    }
}

__attribute__((unused)) static void plain_finish16(const int32_t *acc, int32_t rows,
                                                   const PanelParams &p, bool add,
                                                   uint8_t *const *to) {
    const size_t bytes = 64u * static_cast<size_t>(plain_lines(p.valid, 2));
    for (int r = 0; r < rows; ++r) {
        int16_t line[PANEL] = {};
        if (add) memcpy(line, to[r], 2u * static_cast<size_t>(p.valid));
        for (int c = 0; c < p.valid; ++c) {
            const int64_t q = plain_saturate(plain_requant(acc + r * PANEL, p, c), 16);
            line[c] = static_cast<int16_t>(plain_saturate(line[c] + q, 16));
        }
        memcpy(to[r], line, bytes);
    }
}

__attribute__((unused)) static void plain_finish32(const int32_t *acc, int32_t rows,
                                                   const PanelParams &p, uint8_t *const *to) {
    const size_t bytes = 64u * static_cast<size_t>(plain_lines(p.valid, 4));
    for (int r = 0; r < rows; ++r) {
        int32_t line[PANEL] = {};
        for (int c = 0; c < p.valid; ++c)
            line[c] =
                static_cast<int32_t>(plain_saturate(plain_requant(acc + r * PANEL, p, c), 32));
        memcpy(to[r], line, bytes);
    }
}

// The panel's shifts are those of `fine`.
__attribute__((unused)) static void plain_finish_gated(const int32_t *acc, int32_t rows,
                                                       const PanelParams &p, const uint16_t *gates,
                                                       uint8_t *const *to) {
    const size_t bytes = 64u * static_cast<size_t>(plain_lines(p.valid, 2));
    for (int r = 0; r < rows; ++r) {
        int16_t line[PANEL] = {};
        for (int c = 0; c < p.valid; ++c) {
            const int64_t fine = plain_saturate(plain_requant(acc + r * PANEL, p, c), 27);
            line[c] = static_cast<int16_t>(plain_saturate(plain_rshift(fine * gates[r], 24), 16));
        }
        memcpy(to[r], line, bytes);
    }
}

__attribute__((unused)) static void plain_scores(const int32_t *acc, int32_t rows,
                                                 const int32_t *offsets, int32_t valid,
                                                 const ScoreScale &scale, int16_t *to,
                                                 size_t stride) {
    for (int r = 0; r < rows; ++r) {
        int16_t *row = to + static_cast<size_t>(r) * stride;
        for (int c = 0; c < valid; ++c) {
            const int64_t product =
                static_cast<int64_t>(acc[r * PANEL + c] + offsets[c]) * scale.mult;
            row[c] = static_cast<int16_t>(plain_saturate(plain_rshift(product, scale.shift), 16));
        }
        for (int c = valid; c < PANEL; ++c) row[c] = -32768;
    }
}

// One probability; `extra` is 4 with one pass.
static inline int plain_probability(int delta, int extra) {
    const int octaves = delta >> 8;
    return static_cast<int>(
        plain_rshift(m3vit::EXP_TABLE[delta & 255], (octaves < 31 ? octaves : 31) + extra));
}

static inline int plain_maximum(const int16_t *scores, int32_t n) {
    int largest = -32768;
    for (int j = 0; j < n; ++j) largest = scores[j] > largest ? scores[j] : largest;
    return largest;
}

// For paths with elements of one byte; `flip` is what is added to each, modulo 256.
static inline uint32_t plain_softmax8(const int16_t *scores, int32_t n, int32_t passes,
                                      uint8_t *high, uint8_t *low, uint8_t flip) {
    const int largest = plain_maximum(scores, n), extra = passes == 1 ? 4 : 0;
    const int padded = (n + PANEL - 1) / PANEL * PANEL;
    uint32_t sum = 0;
    for (int j = 0; j < padded; ++j) {
        const int p = j < n ? plain_probability(largest - scores[j], extra) : 0;
        sum += static_cast<uint32_t>(p);
        high[j] = static_cast<uint8_t>((passes == 1 ? p : p >> 4) + flip);
        if (passes != 1) low[j] = static_cast<uint8_t>((p & 15) + flip);
    }
    return sum;
}

// For paths with elements of two bytes.
__attribute__((unused)) static uint32_t plain_softmax16(const int16_t *scores, int32_t n,
                                                        int32_t passes, uint8_t *high, uint8_t *) {
    const int largest = plain_maximum(scores, n), extra = passes == 1 ? 4 : 0;
    const int padded = (n + PANEL - 1) / PANEL * PANEL;
    int16_t *out = reinterpret_cast<int16_t *>(high);
    uint32_t sum = 0;
    for (int j = 0; j < padded; ++j) {
        const int p = j < n ? plain_probability(largest - scores[j], extra) : 0;
        sum += static_cast<uint32_t>(p);
        out[j] = static_cast<int16_t>(p);
    }
    return sum;
}

__attribute__((unused)) static void plain_mix(const int32_t *a, int32_t n, int32_t first,
                                              int32_t mult, int32_t shift, int8_t *to) {
    for (int c = 0; c < n; ++c) {
        const int64_t mean = plain_rshift(a[c], first);
        to[c] = static_cast<int8_t>(plain_saturate(plain_rshift(mean * mult, shift), 8));
    }
}

__attribute__((unused)) static void plain_moments(const int16_t *x, int32_t n, int32_t *sum,
                                                  uint64_t *squares) {
    int32_t s = 0;
    uint64_t q = 0;
    for (int i = 0; i < n; ++i) {
        s += x[i];
        q += static_cast<uint32_t>(static_cast<int32_t>(x[i]) * x[i]);
    }
    *sum = s;
    *squares = q;
}

// Channels from `first` on, and the padding.
static inline void plain_normalise_from(const Normalise &a, int first) {
    const int padded = (a.n + 63) / 64 * 64;
    for (int i = first; i < a.n; ++i) {
        const int64_t centred = static_cast<int64_t>(a.n) * a.x[i] - a.sum;
        const int64_t z = plain_rshift(centred * a.inverse, a.z_shift);
        const int64_t y = (z * a.gamma[i] + a.beta[M3VIT_EVEN_ODD(i)]) >> a.shift;
        a.out[i] = static_cast<int8_t>(plain_saturate(y, 8));
    }
    memset(a.out + a.n, 0, static_cast<size_t>(padded - a.n));
}

__attribute__((unused)) static void plain_normalise(const Normalise &a) {
    plain_normalise_from(a, 0);
}

__attribute__((unused)) static void plain_add_rows(int16_t *x, const int16_t *update, int32_t n) {
    for (int i = 0; i < n; ++i) {
        const int32_t sum = x[i] + update[i];
        x[i] = static_cast<int16_t>(sum < -32768 ? -32768 : sum > 32767 ? 32767 : sum);
    }
}

__attribute__((unused)) static void plain_blend_line(const int8_t *near, const int8_t *x,
                                                     const int8_t *y, const int8_t *xy,
                                                     int8_t *to) {
    for (int i = 0; i < 64; ++i)
        to[i] = static_cast<int8_t>((9 * near[i] + 3 * x[i] + 3 * y[i] + xy[i] + 8) >> 4);
}

__attribute__((unused)) static void plain_best_class(const int32_t *v, int32_t n, int32_t side,
                                                     int32_t near, int32_t far, int32_t channel,
                                                     int32_t *best, int32_t *index) {
    const int32_t *other = v + side;
    for (int i = 0; i < n; ++i) {
        const int32_t value = near * v[i] + far * other[i];
        const bool better = value > best[i];
        best[i] = better ? value : best[i];
        index[i] = better ? channel : index[i];
    }
}

static inline uint64_t plain_mixed(uint64_t x) {
    x ^= x >> 33;
    x *= 0xff51afd7ed558ccdu;
    x ^= x >> 33;
    x *= 0xc4ceb9fe1a85ec53u;
    return x ^ (x >> 33);
}

// After XXH3: eight lanes of 64 bits, products of halves, a scramble every 16 stripes.
__attribute__((unused)) static uint64_t plain_checksum(const uint8_t *data, size_t bytes,
                                                       uint64_t seed) {
    uint64_t acc[8], key[8];
    for (int i = 0; i < 8; ++i) {
        acc[i] = seed + 0x9e3779b97f4a7c15u * static_cast<uint64_t>(i + 1);
        key[i] = plain_mixed(acc[i]);
    }
    size_t done = 0;
    for (int stripe = 0; done + 64 <= bytes; done += 64) {
        uint64_t word[8], keyed[8];
        memcpy(word, data + done, 64);
        for (int i = 0; i < 8; ++i) keyed[i] = word[i] ^ (key[i] + done);
        for (int i = 0; i < 8; ++i)
            acc[i] += word[i ^ 1] + (keyed[i] & 0xffffffffu) * (keyed[i] >> 32);
        if (++stripe == 16) {
            stripe = 0;
            for (int i = 0; i < 8; ++i)
                acc[i] = (acc[i] ^ (acc[i] >> 47) ^ key[i]) * 0x9e3779b185ebca87u;
        }
    }
    uint64_t tail[8] = {};
    memcpy(tail, data + done, bytes - done);
    uint64_t result = plain_mixed(seed ^ bytes);
    for (int i = 0; i < 8; ++i)
        result = plain_mixed(result ^ acc[i]) + plain_mixed(tail[i] + key[i]);
    return result;
}

}  // namespace
}  // namespace fast

#endif
