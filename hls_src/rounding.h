// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// Rounding shifts and saturation, as docs/numerics.md defines them.
#ifndef M3VIT_ROUNDING_H
#define M3VIT_ROUNDING_H

#include <stdint.h>

namespace m3vit {

// x / 2^n to nearest, halves towards +infinity; n in 0 ... 62. Half is added behind a
// shift by n - 1, which no width can overflow.
inline int64_t rshift(int64_t x, int n) {
#pragma HLS INLINE
    const int by = n == 0 ? 0 : n - 1;
    const int64_t nearest = ((x >> by) + 1) >> 1;
    return n == 0 ? x : nearest;
}

inline int32_t clamp_to(int64_t x, int32_t low, int32_t high) {
#pragma HLS INLINE
    return x < low ? low : (x > high ? high : static_cast<int32_t>(x));
}

inline int8_t sat8(int64_t x) {
#pragma HLS INLINE
    return static_cast<int8_t>(clamp_to(x, -128, 127));
}

inline int16_t sat16(int64_t x) {
#pragma HLS INLINE
    return static_cast<int16_t>(clamp_to(x, -32768, 32767));
}

// Lines that `bytes` bytes fill.
inline uint32_t line_count(uint32_t bytes) {
#pragma HLS INLINE
    return (bytes + 63) >> 6;
}

}  // namespace m3vit

#endif
