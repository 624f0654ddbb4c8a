// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// Adder tree over the columns: each level halves the number of terms and widens them by
// one bit. What three levels leave is added as a compiler balances it.
//
//   in   N terms of BITS bits
//   out  their sum
#ifndef M3VIT_ADDER_TREE_H
#define M3VIT_ADDER_TREE_H

#include "words.h"

namespace m3vit {

// One level: N sums of two terms.
template <int N, int BITS>
inline void halved(const Int<BITS> terms[2 * N], Int<BITS + 1> sums[N]) {
#pragma HLS INLINE
    for (int i = 0; i < N; ++i) {
#pragma HLS UNROLL
        sums[i] = static_cast<int32_t>(terms[2 * i]) + static_cast<int32_t>(terms[2 * i + 1]);
    }
}

template <int N, int BITS>
inline Int<BITS + 6> column_sum(const Int<BITS> terms[N]) {
#pragma HLS INLINE
    static_assert(N >= 8 && N <= 64, "one to eight terms are left after three levels");
    Int<BITS + 1> by2[N / 2];
#pragma HLS ARRAY_PARTITION variable = by2 complete
    Int<BITS + 2> by4[N / 4];
#pragma HLS ARRAY_PARTITION variable = by4 complete
    Int<BITS + 3> by8[N / 8];
#pragma HLS ARRAY_PARTITION variable = by8 complete
    halved<N / 2, BITS>(terms, by2);
    halved<N / 4, BITS + 1>(by2, by4);
    halved<N / 8, BITS + 2>(by4, by8);
    Int<BITS + 6> sum = by8[0];
    for (int i = 1; i < N / 8; ++i) {
#pragma HLS UNROLL
        sum = static_cast<int32_t>(sum) + static_cast<int32_t>(by8[i]);
    }
    return sum;
}

}  // namespace m3vit

#endif
