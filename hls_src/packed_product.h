// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// Two INT8 products in one multiplier of 25 x 18 bits, as DSP48E1 and DSP48E2 have it:
// two tokens share a weight. Tokens are -128 ... 255, so that signed and unsigned ones
// (probabilities) are the same form. tests/hls/processes proves it on every operand.
//
//   in   token1, token0, weight
//   out  low = token0 * weight; high + has_borrowed = token1 * weight
//
// The low product lies in the low 16 bits of p; where it is negative it has taken one from
// the high product. Sums of high products add those ones together: a count of bits costs a
// few LUT, an increment per product would cost an adder each.
#ifndef M3VIT_PACKED_PRODUCT_H
#define M3VIT_PACKED_PRODUCT_H

#include "words.h"

namespace m3vit {

inline void packed_product(const Int<9> &token1, const Int<9> &token0, const Int<8> &weight,
                           Int<17> &high, Int<16> &low, UInt<1> &has_borrowed) {
#pragma HLS INLINE
    const Int<25> tokens = static_cast<int32_t>(token1) * 65536 + static_cast<int32_t>(token0);
    const Int<33> wide = tokens;
    const Int<33> p = wide * weight;
#pragma HLS BIND_OP variable = p op = mul impl = dsp latency = 3
    const int64_t bits = p;
    low = static_cast<int16_t>(bits & 0xffff);
    high = static_cast<int32_t>(bits >> 16);
    has_borrowed = static_cast<uint32_t>(bits >> 15) & 1;
}

}  // namespace m3vit

#endif
