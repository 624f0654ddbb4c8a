// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// Requantisation of docs/numerics.md: wrap, rounded shift, saturation.
#ifndef M3VIT_REQUANTISE_H
#define M3VIT_REQUANTISE_H

#include "words.h"

namespace m3vit {

// The 27 low bits as a signed number.
inline Int<27> wrap27(uint32_t x) {
#pragma HLS INLINE
    return static_cast<int32_t>(x << 5) >> 5;
}

// rshift(x, n) of numerics.md for every n from 0 to 63: half is added behind a shift by
// n - 1, which no width can overflow; a shift beyond the width leaves -1 or 0, both 0 then.
template <int BITS>
inline Int<BITS> rounded(const Int<BITS> &x, const UInt<6> &n) {
#pragma HLS INLINE
    static_assert(BITS > 32 && BITS < 64, "held in 64 bits, so that shifts up to 63 are defined");
    const unsigned by = n == 0 ? 0u : static_cast<unsigned>(n) - 1u;
    const Int<BITS> floor = x >> by;
    const Int<BITS> nearest = (floor + 1) >> 1;
    return n == 0 ? x : nearest;
}

// A signed product of BITS x 17 bits; up to 27 a DSP48E2, up to 25 a DSP48E1.
template <int BITS>
inline Int<BITS + 17> scaled(const Int<BITS> &x, uint16_t multiplier) {
#pragma HLS INLINE
    const Int<BITS + 17> wide = x;
    const Int<17> factor = multiplier;
    return wide * factor;
}

// Clamp to -limit - 1 ... limit.
template <int BITS>
inline int32_t clamped(const Int<BITS> &x, int32_t limit) {
#pragma HLS INLINE
    const int32_t lowest = -limit - 1;
    return x > limit ? limit : x < lowest ? lowest : static_cast<int32_t>(x);
}

}  // namespace m3vit

#endif
