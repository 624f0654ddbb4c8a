// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// Streams for Bambu. Its FIFO ports take words, not structs, and lose the sign of an int16
// that is written to a stream of int32: whatever is no word travels as one of its length. A
// struct's fields are in order; tools/rtl writes a Codec behind each struct.
#ifndef M3VIT_BAMBU_STREAM_H
#define M3VIT_BAMBU_STREAM_H

#include <ap_int.h>
#include <hls_stream.h>
#include <stdint.h>

namespace m3vit {
namespace bambu {

template <typename T>
struct Codec {  // of integers
    static constexpr int BITS = 8 * sizeof(T);
    static __attribute__((always_inline)) T from(const ap_uint<BITS> &word) {
        return static_cast<T>(word.to_uint64());
    }
    static __attribute__((always_inline)) ap_uint<BITS> to(const T &item) {
        return ap_uint<BITS>(static_cast<uint64_t>(static_cast<int64_t>(item)));
    }
};

template <typename T>
struct IsWord {
    static constexpr bool VALUE = false;
};
template <int BITS>
struct IsWord<ap_uint<BITS>> {
    static constexpr bool VALUE = true;
};

template <typename T>
class Packed {
public:
    using Raw = hls::stream<ap_uint<Codec<T>::BITS>>;
    __attribute__((always_inline)) explicit Packed(Raw &words) : words_(words) {}
    __attribute__((always_inline)) T read() { return Codec<T>::from(words_.read()); }
    __attribute__((always_inline)) void write(const T &item) { words_.write(Codec<T>::to(item)); }

private:
    Raw &words_;
};

template <typename T, bool IS_WORD = IsWord<T>::VALUE>
struct StreamOf {
    using Type = hls::stream<T>;
    using Raw = Type;
    using Own = Type &;
};
template <typename T>
struct StreamOf<T, false> {
    using Type = Packed<T>;
    using Raw = typename Packed<T>::Raw;
    using Own = Type;
};

}  // namespace bambu
}  // namespace m3vit

#endif
