// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// The one place where vendor headers enter: words of memories and streams, narrow
// integers, streams and memory ports. An HLS compiler gets its own types, any
// other compiler gets plain ones with the same meaning.
//
//   Bytes<N>   a word of N bytes, for memories, streams and ports
//   Int<N>     a signed number of N bits, UInt<N> an unsigned one
//   Stream<T>  a FIFO: write, read, empty
//   Port<T>    a memory port: requests and their beats, in order
#ifndef M3VIT_WORDS_H
#define M3VIT_WORDS_H

#include <stdint.h>

#if defined(__VITIS_HLS__) || defined(__BAMBU__)
#include <ap_int.h>
#include <hls_stream.h>
#else
#include "host/plain_words.h"
#endif
#if defined(__VITIS_HLS__)
#include <hls_burst_maxi.h>
#else
#include "host/plain_port.h"
#endif

#include "config.h"

namespace m3vit {

#if defined(__VITIS_HLS__) || defined(__BAMBU__)

template <int N>
using Bytes = ap_uint<8 * N>;
template <int N>
using Int = ap_int<N>;
template <int N>
using UInt = ap_uint<N>;
template <typename T>
using Stream = hls::stream<T>;

template <int N>
inline Bytes<N> zeros() {
#pragma HLS INLINE
    return Bytes<N>(0);  // without a value the bits of an ap_uint are undefined
}

// Byte, half word and word i of a word, as bits.
template <int BITS>
inline uint8_t byte_at(const ap_uint<BITS> &word, int i) {
#pragma HLS INLINE
    return static_cast<uint8_t>(word.range(8 * i + 7, 8 * i).to_uint());
}
template <int BITS>
inline uint16_t half_at(const ap_uint<BITS> &word, int i) {
#pragma HLS INLINE
    return static_cast<uint16_t>(word.range(16 * i + 15, 16 * i).to_uint());
}
template <int BITS>
inline uint32_t word_at(const ap_uint<BITS> &word, int i) {
#pragma HLS INLINE
    return static_cast<uint32_t>(word.range(32 * i + 31, 32 * i).to_uint());
}
template <int BITS>
inline void set_byte(ap_uint<BITS> &word, int i, uint8_t value) {
#pragma HLS INLINE
    word.range(8 * i + 7, 8 * i) = value;
}
template <int BITS>
inline void set_half(ap_uint<BITS> &word, int i, uint16_t value) {
#pragma HLS INLINE
    word.range(16 * i + 15, 16 * i) = value;
}
template <int BITS>
inline void set_word(ap_uint<BITS> &word, int i, uint32_t value) {
#pragma HLS INLINE
    word.range(32 * i + 31, 32 * i) = value;
}

#else

template <int N>
using Bytes = plain::Bytes<N>;
template <int N>
using Int = plain::Int<N>;
template <int N>
using UInt = plain::UInt<N>;
template <typename T>
using Stream = plain::Stream<T>;

using plain::byte_at;
using plain::half_at;
using plain::set_byte;
using plain::set_half;
using plain::set_word;
using plain::word_at;
using plain::zeros;

#endif

#if defined(__VITIS_HLS__)
template <typename T>
using Port = hls::burst_maxi<T>;
#else
template <typename T>
using Port = plain::Port<T>;
#endif

using Line = Bytes<LINE>;            // a line of device memory
using PortBeat = Bytes<PORT_BYTES>;  // what one memory port moves per cycle
using Piece = Bytes<IN_PAR>;         // what the engine takes of a line per cycle
using Word = Bytes<IN_PAR * OH>;     // weights of one half engine for one cycle

}  // namespace m3vit

#endif
