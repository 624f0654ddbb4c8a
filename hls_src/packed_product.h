// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// Two INT8 products in one multiplier: two tokens share a weight. Tokens are -128 ... 255,
// so that signed and unsigned ones (probabilities) are the same form.
// tests/hls/processes proves it on every operand.
//
//   packed_tokens   token1, token0 -> one operand, token0 in the low bits
//   packed_sum      CHAIN products of such an operand and a weight, added
//   unpacked        -> low = sum of token0 * weight; high + has_borrowed = of token1 * weight
//
// A DSP48E2 multiplies 27 bits: token0 has 18, which hold four products of 16 bits. Their
// sum is a chain of multipliers that add what comes from the one before, without LUT. A
// DSP48E1 multiplies 25 bits, and nothing can be added before the halves are taken apart.
//
// Where the low half is negative it has taken one from the high half. Sums of high halves
// add those ones together: a count of bits costs a few LUT, an increment per half would
// cost an adder each.
#ifndef M3VIT_PACKED_PRODUCT_H
#define M3VIT_PACKED_PRODUCT_H

#include "words.h"

namespace m3vit {

constexpr int TOKEN_BITS = 9;
constexpr int LOW_BITS = board::MULTIPLIER_BITS - TOKEN_BITS;  // 16 or 18
constexpr int HIGH_BITS = LOW_BITS + 1;
constexpr int CHAIN = 1 << (LOW_BITS - 16);  // products that fit the low half together

inline Int<board::MULTIPLIER_BITS> packed_tokens(const Int<TOKEN_BITS> &token1,
                                                 const Int<TOKEN_BITS> &token0) {
#pragma HLS INLINE
    return static_cast<int32_t>(token1) * (1 << LOW_BITS) + static_cast<int32_t>(token0);
}

inline Int<LOW_BITS + HIGH_BITS> packed_sum(const Int<board::MULTIPLIER_BITS> tokens[CHAIN],
                                            const Int<8> weights[CHAIN]) {
#pragma HLS INLINE
    Int<LOW_BITS + HIGH_BITS> sum = 0;
    for (int i = 0; i < CHAIN; ++i) {
#pragma HLS UNROLL
        const Int<LOW_BITS + HIGH_BITS> wide = tokens[i];
        const Int<LOW_BITS + HIGH_BITS> product = wide * weights[i];
        sum = sum + product;
    }
    return sum;
}

inline void unpacked(const Int<LOW_BITS + HIGH_BITS> &sum, Int<HIGH_BITS> &high, Int<LOW_BITS> &low,
                     UInt<1> &has_borrowed) {
#pragma HLS INLINE
    const int64_t bits = sum;
    constexpr int UNUSED = 64 - LOW_BITS;
    low = static_cast<int64_t>(static_cast<uint64_t>(bits) << UNUSED) >> UNUSED;
    high = bits >> LOW_BITS;
    has_borrowed = static_cast<uint32_t>(bits >> (LOW_BITS - 1)) & 1;
}

}  // namespace m3vit

#endif
