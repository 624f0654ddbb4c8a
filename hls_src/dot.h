// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// The multipliers of a half engine: T tokens x OH outputs x IN_PAR columns in one cycle.
//
//   in   a piece of each token's row, a word of weights, whether tokens are unsigned
//   out  sums[t][o]
//
// Without an HLS tool, M3VIT_PLAIN_DOT selects an equal loop that a compiler vectorises.
#ifndef M3VIT_DOT_H
#define M3VIT_DOT_H

#include "adder_tree.h"
#include "packed_product.h"

namespace m3vit {

constexpr int SUMS = IN_PAR / CHAIN;  // that are left of the columns behind the multipliers

inline Int<9> token_at(const Piece &piece, int k, bool is_unsigned) {
#pragma HLS INLINE
    const uint8_t byte = byte_at(piece, k);
    return is_unsigned ? static_cast<int32_t>(byte)
                       : static_cast<int32_t>(static_cast<int8_t>(byte));
}

#if defined(M3VIT_PLAIN_DOT) && !defined(__SYNTHESIS__) && !defined(__BAMBU__)

inline void dot(const Piece rows[T], const Word &word, bool is_unsigned, int32_t sums[T][OH]) {
    for (int t = 0; t < T; ++t) {
        for (int o = 0; o < OH; ++o) {
            int32_t sum = 0;
            for (int k = 0; k < IN_PAR; ++k) {
                sum += static_cast<int8_t>(byte_at(rows[t], k)) *
                       static_cast<int8_t>(byte_at(word, o * IN_PAR + k));
            }
            if (is_unsigned) {  // an unsigned token may be 256 more than its signed reading
                for (int k = 0; k < IN_PAR; ++k) {
                    sum += (byte_at(rows[t], k) >> 7) * 256 *
                           static_cast<int8_t>(byte_at(word, o * IN_PAR + k));
                }
            }
            sums[t][o] = sum;
        }
    }
}

#else

inline void dot(const Piece rows[T], const Word &word, bool is_unsigned, int32_t sums[T][OH]) {
#pragma HLS INLINE
OUTPUTS:
    for (int o = 0; o < OH; ++o) {
#pragma HLS UNROLL
    PAIRS:
        for (int t = 0; t < T; t += 2) {
#pragma HLS UNROLL
            Int<HIGH_BITS> high[SUMS];
#pragma HLS ARRAY_PARTITION variable = high complete
            Int<LOW_BITS> low[SUMS];
#pragma HLS ARRAY_PARTITION variable = low complete
            Int<2> borrowed[SUMS];
#pragma HLS ARRAY_PARTITION variable = borrowed complete
        COLUMNS:
            for (int k = 0; k < SUMS; ++k) {
#pragma HLS UNROLL
                Int<board::MULTIPLIER_BITS> tokens[CHAIN];
#pragma HLS ARRAY_PARTITION variable = tokens complete
                Int<8> weights[CHAIN];
#pragma HLS ARRAY_PARTITION variable = weights complete
                for (int i = 0; i < CHAIN; ++i) {
#pragma HLS UNROLL
                    const int column = k * CHAIN + i;
                    tokens[i] = packed_tokens(token_at(rows[t + 1], column, is_unsigned),
                                              token_at(rows[t], column, is_unsigned));
                    weights[i] = static_cast<int8_t>(byte_at(word, o * IN_PAR + column));
                }
                UInt<1> has_borrowed;
                unpacked(packed_sum(tokens, weights), high[k], low[k], has_borrowed);
                borrowed[k] = static_cast<int32_t>(has_borrowed);
            }
            sums[t][o] = static_cast<int32_t>(column_sum<SUMS, LOW_BITS>(low));
            sums[t + 1][o] = static_cast<int32_t>(column_sum<SUMS, HIGH_BITS>(high)) +
                             static_cast<int32_t>(column_sum<SUMS, 2>(borrowed));
        }
    }
}

#endif

}  // namespace m3vit

#endif
