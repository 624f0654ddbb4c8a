// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// Beats as words of a longer one, and shift registers of bytes: constant indices only,
// so that no multiplexer of bytes is needed.
#ifndef M3VIT_BEAT_WORDS_H
#define M3VIT_BEAT_WORDS_H

#include "words.h"

namespace m3vit {

inline int16_t int16_at(const PortBeat &beat, int i) {
#pragma HLS INLINE
    return static_cast<int16_t>(half_at(beat, i));
}

// `BYTES` bytes lower, `top` behind them.
template <int N, int BYTES>
inline Bytes<N> shifted_in(const Bytes<N> &word, const Bytes<BYTES> &top) {
#pragma HLS INLINE
    Bytes<N> result = zeros<N>();
    for (int i = 0; i < N - BYTES; ++i) {
#pragma HLS UNROLL
        set_byte(result, i, byte_at(word, i + BYTES));
    }
    for (int i = 0; i < BYTES; ++i) {
#pragma HLS UNROLL
        set_byte(result, N - BYTES + i, byte_at(top, i));
    }
    return result;
}

// Part `i` of M bytes.
template <int N, int M>
inline Bytes<M> part_of(const Bytes<N> &word, int i) {
#pragma HLS INLINE
    Bytes<M> part = zeros<M>();
    for (int b = 0; b < M; ++b) {
#pragma HLS UNROLL
        set_byte(part, b, byte_at(word, M * i + b));
    }
    return part;
}

}  // namespace m3vit

#endif
