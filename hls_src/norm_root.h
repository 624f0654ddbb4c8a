// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// LAYERNORM, third step: root and inverse, one digit a step, 18 steps each.
//
//   norm_root      radicands -> roots      root = floor(sqrt(radicand)), 18 bits
//   norm_inverse   roots -> inverses       floor(2^34 / root), at most 2^17 - 1
//   loop           row x step; behind the digits idle ones, in which the result leaves
#ifndef M3VIT_NORM_ROOT_H
#define M3VIT_NORM_ROOT_H

#include "norm_stats.h"

namespace m3vit {

constexpr int DIGITS = 18;

// A root or an inverse with what normalise needs of its row.
struct RowScale {
    uint32_t value;
    int32_t sum;
    int32_t k;
    int32_t unused;
};
static_assert(sizeof(RowScale) == 16, "a power of two of bits");

inline void norm_root(const NormJob norm, Stream<Radicand> &radicands, Stream<RowScale> &roots) {
    Radicand row = {0, 0, 0};
    UInt<36> digits = 0;
    UInt<20> rest = 0;
    UInt<18> root = 0;
    int digit = 0;
ROOT:
    for (uint32_t i = 0; i < norm.scale_steps; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
        if (digit == 0) {
            row = radicands.read();
            digits = row.upper;
            rest = 0;
            root = 0;
        }
        const uint32_t two = static_cast<uint32_t>(static_cast<uint64_t>(digits) >> 34);
        const uint32_t remainder = static_cast<uint32_t>(rest) << 2 | two;
        const uint32_t trial = static_cast<uint32_t>(root) << 2 | 1;
        const bool fits = remainder >= trial;
        const bool busy = digit < DIGITS;
        rest = !busy ? 0 : fits ? remainder - trial : remainder;
        if (busy) root = (static_cast<uint32_t>(root) << 1) | (fits ? 1u : 0u);
        digits = (static_cast<uint64_t>(digits) << 2) & ((uint64_t(1) << 36) - 1);
        if (digit == DIGITS - 1) {
            const RowScale found = {static_cast<uint32_t>(root), row.sum, row.k, 0};
            roots.write(found);
        }
        digit = digit == SCALE_STEPS - 1 ? 0 : digit + 1;
    }
}

inline void norm_inverse(const NormJob norm, Stream<RowScale> &roots, Stream<RowScale> &inverses) {
    constexpr uint32_t LARGEST = (1u << 17) - 1;
    RowScale row = {0, 0, 0, 0};
    UInt<18> rest = 0;
    UInt<18> quotient = 0;
    int digit = 0;
INVERSE:
    for (uint32_t i = 0; i < norm.scale_steps; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
        if (digit == 0) {
            row = roots.read();
            rest = 1u << 16;  // 2^34 >> 18, below every root
            quotient = 0;
        }
        const uint32_t remainder = static_cast<uint32_t>(rest) << 1;
        const bool fits = remainder >= row.value;
        const bool busy = digit < DIGITS;
        rest = !busy ? 0 : fits ? remainder - row.value : remainder;
        if (busy) quotient = (static_cast<uint32_t>(quotient) << 1) | (fits ? 1u : 0u);
        if (digit == DIGITS - 1) {
            const uint32_t inverse = static_cast<uint32_t>(quotient);
            const RowScale found = {inverse < LARGEST ? inverse : LARGEST, row.sum, row.k, 0};
            inverses.write(found);
        }
        digit = digit == SCALE_STEPS - 1 ? 0 : digit + 1;
    }
}

}  // namespace m3vit

#endif
