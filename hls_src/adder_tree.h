// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// Adder tree over the columns: each level halves the number of terms and widens them by
// one bit.
//
//   in   IN_PAR terms of BITS bits
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

template <int BITS>
inline int32_t column_sum(const Int<BITS> terms[IN_PAR]) {
#pragma HLS INLINE
    Int<BITS + 1> by2[IN_PAR / 2];
#pragma HLS ARRAY_PARTITION variable = by2 complete
    Int<BITS + 2> by4[IN_PAR / 4];
#pragma HLS ARRAY_PARTITION variable = by4 complete
    Int<BITS + 3> by8[IN_PAR / 8];
#pragma HLS ARRAY_PARTITION variable = by8 complete
    Int<BITS + 4> by16[IN_PAR / 16];
#pragma HLS ARRAY_PARTITION variable = by16 complete
    Int<BITS + 5> by32[IN_PAR / 32];
#pragma HLS ARRAY_PARTITION variable = by32 complete
    halved<IN_PAR / 2, BITS>(terms, by2);
    halved<IN_PAR / 4, BITS + 1>(by2, by4);
    halved<IN_PAR / 8, BITS + 2>(by4, by8);
    halved<IN_PAR / 16, BITS + 3>(by8, by16);
    halved<IN_PAR / 32, BITS + 4>(by16, by32);
    int32_t sum = 0;
    for (int i = 0; i < IN_PAR / 32; ++i) {
#pragma HLS UNROLL
        sum += by32[i];
    }
    return sum;
}

}  // namespace m3vit

#endif
