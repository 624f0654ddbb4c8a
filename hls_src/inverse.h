// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// Sums of probabilities to a multiplier and a shift per query, in place of a division.
//
//   in   job (rows, heads, passes, mult_b, shift_b; in other modes nothing happens)
//        sums    Sums: unit (plane, tile, head)
//   out  scales  Scales: unit
//
// One flat loop. A unit takes 18 iterations for the digits of all inverses, next to each
// other, then T iterations for the scales, one query each.
#ifndef M3VIT_INVERSE_H
#define M3VIT_INVERSE_H

#include "pieces.h"
#include "requantise.h"
#include "results.h"

namespace m3vit {

constexpr int QUOTIENT_DIGITS = 18;
constexpr int SUM_BITS = 23;

// Bits of a number without its leading zeros.
template <int BITS>
inline UInt<6> bit_length(const UInt<BITS> &x) {
#pragma HLS INLINE
    UInt<6> length = 0;
    for (int b = 0; b < BITS; ++b) {
#pragma HLS UNROLL
        if (((x >> b) & 1) != 0) length = b + 1;
    }
    return length;
}

inline void invert_sums(const MatrixJob job, Stream<Sums> &sums, Stream<Scales> &scales) {
    constexpr int SPAN = QUOTIENT_DIGITS + T;
    const int units = job.mode == MODE_ATTENTION ? counted<STEP_BITS, 6>(job.tiles, job.heads) : 0;
    const int total = units * SPAN;
    const int taken = job.passes == 2 ? 4 : 0;

    UInt<SUM_BITS> divisor[T];  // the sum, shifted up to SUM_BITS bits
#pragma HLS ARRAY_PARTITION variable = divisor complete
    UInt<SUM_BITS + 1> rest[T];
#pragma HLS ARRAY_PARTITION variable = rest complete
    UInt<QUOTIENT_DIGITS> inverse[T];
#pragma HLS ARRAY_PARTITION variable = inverse complete
    UInt<6> length[T];
#pragma HLS ARRAY_PARTITION variable = length complete
CLEAR:
    for (int t = 0; t < T; ++t) {
#pragma HLS UNROLL
        divisor[t] = 0;
        rest[t] = 0;
        inverse[t] = 0;
        length[t] = 0;
    }
    Scales scale = zeros<QUERY_BYTES>();
    int step = 0;
INVERT:
    for (int i = 0; i < total; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
        const bool is_first = step == 0;
        const bool is_digit = step < QUOTIENT_DIGITS;
        Sums sum = zeros<QUERY_BYTES>();
        if (is_first) sum = sums.read();

        // floor(2^(n + 17) / s) = floor(2^40 / d) for d = s * 2^(23 - n). The first rest,
        // 2^22, is at most d; where it equals d all digits are 1, which is the limit.
        for (int t = 0; t < T; ++t) {
#pragma HLS UNROLL
            const UInt<SUM_BITS> s = word_at(sum, t) & ((1u << SUM_BITS) - 1);
            const UInt<6> bits = bit_length<SUM_BITS>(s);
            const uint32_t up = static_cast<uint32_t>(SUM_BITS) - static_cast<uint32_t>(bits);
            const uint32_t aligned = (static_cast<uint32_t>(s) << up) & ((1u << SUM_BITS) - 1);
            const uint32_t d = is_first ? aligned : static_cast<uint32_t>(divisor[t]);
            const uint32_t r = is_first ? 1u << (SUM_BITS - 1) : static_cast<uint32_t>(rest[t]);
            const uint32_t q = is_first ? 0u : static_cast<uint32_t>(inverse[t]);
            const bool is_one = 2 * r >= d;
            if (is_first) length[t] = bits;
            if (is_digit) {
                divisor[t] = d;
                rest[t] = is_one ? 2 * r - d : 2 * r;
                inverse[t] = 2 * q + (is_one ? 1u : 0u);
            }
        }
        if (!is_digit) {
            const UInt<34> wide = inverse[0];
            const UInt<34> product = wide * job.mult_b;
            const UInt<6> bits = bit_length<34>(product);
            const uint32_t n = static_cast<uint32_t>(length[0]);
            const uint32_t cut = bits > 16 ? static_cast<uint32_t>(bits) - 16 : 0u;
            const Int<44> signed_product = static_cast<int64_t>(product);
            const Int<44> rounded_up = rounded<44>(signed_product, static_cast<uint8_t>(cut));
            const int32_t multiplier = clamped<44>(rounded_up, 65535);
            const uint32_t shift = job.shift_b + n + 17 - cut - static_cast<uint32_t>(taken);
            const uint32_t least = shift < 47 ? shift : 47u;
            Bytes<4> entry = zeros<4>();
            set_word(entry, 0, static_cast<uint32_t>(multiplier) | (least << 16));
            scale = shift_in<QUERY_BYTES, 4>(scale, entry);
            for (int t = 0; t + 1 < T; ++t) {
#pragma HLS UNROLL
                inverse[t] = inverse[t + 1];
                length[t] = length[t + 1];
            }
        }
        if (step + 1 < SPAN) {
            ++step;
        } else {
            step = 0;
            Scales ordered = zeros<QUERY_BYTES>();
            for (int t = 0; t < T; ++t) {
#pragma HLS UNROLL
                set_word(ordered, t, word_at(scale, QUERY_BYTES / 4 - T + t));
            }
            scales.write(ordered);
        }
    }
}

}  // namespace m3vit

#endif
