// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// Streams for Bambu, all of words of 64 bits or more. Its FIFO ports take no structs, lose
// the sign of an int16 that is written to a stream of int32, and compare bytes behind shorter
// words that nobody wrote. A struct travels as a word of its length, its fields in order (tools/rtl
// writes a Codec behind each struct), an integer in the low bits of 64.
#ifndef M3VIT_BAMBU_STREAM_H
#define M3VIT_BAMBU_STREAM_H

#include <ap_int.h>
#include <hls_stream.h>
#include <stdint.h>

namespace m3vit {
namespace bambu {

template <unsigned BYTES>
struct Unsigned;
template <>
struct Unsigned<1> {
    using Type = uint8_t;
};
template <>
struct Unsigned<2> {
    using Type = uint16_t;
};
template <>
struct Unsigned<4> {
    using Type = uint32_t;
};

template <typename T>
struct Codec {  // of integers
    static constexpr unsigned BYTES = sizeof(T);
    using Word = ap_uint<64>;
    using Bits = typename Unsigned<sizeof(T)>::Type;
    static __attribute__((always_inline)) T from(const Word &word) {
        return static_cast<T>(static_cast<Bits>(word.to_uint64()));
    }
    static __attribute__((always_inline)) Word to(T item) {
        return Word(static_cast<uint64_t>(static_cast<Bits>(item)));
    }
};

template <typename T>
struct WordBytes {
    static constexpr unsigned VALUE = 0;
};
template <int BITS>
struct WordBytes<ap_uint<BITS>> {
    static constexpr unsigned VALUE = BITS / 8;
};

template <typename T>
class Packed {
public:
    using Raw = hls::stream<typename Codec<T>::Word>;
    __attribute__((always_inline)) explicit Packed(Raw &words) : words_(words) {}
    __attribute__((always_inline)) T read() { return Codec<T>::from(words_.read()); }
    __attribute__((always_inline)) void write(const T &item) { words_.write(Codec<T>::to(item)); }

private:
    Raw &words_;
};

// Type in the process, stream at the port, and the bytes of an item that mean something.
template <typename T, bool IS_WORD = (WordBytes<T>::VALUE >= 8)>
struct StreamOf {
    static constexpr unsigned BYTES = WordBytes<T>::VALUE;
    using Type = hls::stream<T>;
    using Raw = Type;
    using Own = Type &;
};
template <typename T>
struct StreamOf<T, false> {
    static_assert(WordBytes<T>::VALUE == 0, "no shorter words travel");
    static constexpr unsigned BYTES = Codec<T>::BYTES;
    using Type = Packed<T>;
    using Raw = typename Packed<T>::Raw;
    using Own = Type;
};

}  // namespace bambu
}  // namespace m3vit

#endif
