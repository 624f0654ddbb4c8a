// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// Rounding shift, saturation and requantisation (docs/numerics.md, "Notation").
#ifndef M3VIT_REQUANTISE_H
#define M3VIT_REQUANTISE_H

#include <stdint.h>

namespace m3vit {

// Round half towards +infinity. Doubling first makes n = 0 no special case:
// floor((floor(2x / 2^n) + 1) / 2) = floor(x / 2^n + 1/2). Needs |x| < 2^62.
inline int64_t rshift(int64_t x, uint32_t n) { return ((x * 2 >> n) + 1) >> 1; }

inline int64_t clamp(int64_t x, int64_t low, int64_t high) {
    return x < low ? low : (x > high ? high : x);
}

inline int8_t sat8(int64_t x) { return static_cast<int8_t>(clamp(x, -128, 127)); }

inline int16_t sat16(int64_t x) { return static_cast<int16_t>(clamp(x, -32768, 32767)); }

inline int32_t sat32(int64_t x) { return static_cast<int32_t>(clamp(x, INT32_MIN, INT32_MAX)); }

// acc * M / 2^s, not yet saturated. The shift comes from memory: taken modulo 64.
inline int64_t requantise(int32_t acc, uint16_t multiplier, uint32_t shift) {
    return rshift(static_cast<int64_t>(acc) * multiplier, shift & 63u);
}

// Accumulators wrap, so that damaged weights give wrong but defined numbers.
inline int32_t add_wrapping(int32_t a, int32_t b) {
    return static_cast<int32_t>(static_cast<uint32_t>(a) + static_cast<uint32_t>(b));
}

}  // namespace m3vit

#endif
