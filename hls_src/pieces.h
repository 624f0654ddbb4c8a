// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// Words as shift registers of smaller words. N is the size of the long word in
// bytes, M that of the short one.
#ifndef M3VIT_PIECES_H
#define M3VIT_PIECES_H

#include "words.h"

namespace m3vit {

// `word` moved down by M bytes, with `next` at its top.
template <int N, int M>
inline Bytes<N> shift_in(const Bytes<N> &word, const Bytes<M> &next) {
#pragma HLS INLINE
    Bytes<N> moved = zeros<N>();
    for (int i = 0; i < N - M; ++i) {
#pragma HLS UNROLL
        set_byte(moved, i, byte_at(word, i + M));
    }
    for (int i = 0; i < M; ++i) {
#pragma HLS UNROLL
        set_byte(moved, N - M + i, byte_at(next, i));
    }
    return moved;
}

// The lowest M bytes of `word`.
template <int N, int M>
inline Bytes<M> bottom(const Bytes<N> &word) {
#pragma HLS INLINE
    Bytes<M> low = zeros<M>();
    for (int i = 0; i < M; ++i) {
#pragma HLS UNROLL
        set_byte(low, i, byte_at(word, i));
    }
    return low;
}

// `word` moved down by M bytes, zeros at its top.
template <int N, int M>
inline Bytes<N> shift_out(const Bytes<N> &word) {
#pragma HLS INLINE
    return shift_in<N, M>(word, zeros<M>());
}

}  // namespace m3vit

#endif
