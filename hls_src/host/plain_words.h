// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// Words, narrow integers and streams for compilers that are no HLS tool.
//
// With M3VIT_CHECK_WIDTHS every narrow integer checks on assignment that its value
// fits the stated width, so that tests prove the widths on all that they run.
#ifndef M3VIT_PLAIN_WORDS_H
#define M3VIT_PLAIN_WORDS_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <type_traits>
#include <vector>

namespace m3vit {
namespace plain {

template <int N>
struct Bytes {
    uint8_t byte[N];
};

template <int N>
inline Bytes<N> zeros() {
    return Bytes<N>();
}
template <int N>
inline uint8_t byte_at(const Bytes<N> &word, int i) {
    return word.byte[i];
}
template <int N>
inline uint16_t half_at(const Bytes<N> &word, int i) {
    uint16_t value;
    memcpy(&value, word.byte + 2 * i, sizeof value);
    return value;
}
template <int N>
inline uint32_t word_at(const Bytes<N> &word, int i) {
    uint32_t value;
    memcpy(&value, word.byte + 4 * i, sizeof value);
    return value;
}
template <int N>
inline void set_byte(Bytes<N> &word, int i, uint8_t value) {
    word.byte[i] = value;
}
template <int N>
inline void set_half(Bytes<N> &word, int i, uint16_t value) {
    memcpy(word.byte + 2 * i, &value, sizeof value);
}
template <int N>
inline void set_word(Bytes<N> &word, int i, uint32_t value) {
    memcpy(word.byte + 4 * i, &value, sizeof value);
}

template <int N, bool IS_SIGNED>
using Holder = typename std::conditional<
    IS_SIGNED,
    typename std::conditional<
        (N <= 8), int8_t,
        typename std::conditional<
            (N <= 16), int16_t,
            typename std::conditional<(N <= 32), int32_t, int64_t>::type>::type>::type,
    typename std::conditional<
        (N <= 8), uint8_t,
        typename std::conditional<
            (N <= 16), uint16_t,
            typename std::conditional<(N <= 32), uint32_t, uint64_t>::type>::type>::type>::type;

#ifdef M3VIT_CHECK_WIDTHS

template <int N, bool IS_SIGNED>
class Checked {
public:
    Checked() : value_(0) {}
    template <typename V>
    Checked(V value) : value_(static_cast<Holder<N, IS_SIGNED>>(value)) {
        const int64_t wide = static_cast<int64_t>(value);
        const int64_t low = IS_SIGNED ? -(int64_t(1) << (N - 1)) : 0;
        const int64_t high = IS_SIGNED ? (int64_t(1) << (N - 1)) - 1
                                       : (N >= 63 ? INT64_MAX : (int64_t(1) << (N & 63)) - 1);
        if (N < 64 && (wide < low || wide > high)) abort();
    }
    operator Holder<N, IS_SIGNED>() const { return value_; }

private:
    Holder<N, IS_SIGNED> value_;
};
template <int N>
using Int = Checked<N, true>;
template <int N>
using UInt = Checked<N, false>;

#else

template <int N>
using Int = Holder<N, true>;
template <int N>
using UInt = Holder<N, false>;

#endif

// A queue without a limit: processes run one after the other, each to its end.
template <typename T>
class Stream {
public:
    Stream() : head_(0) {}
    explicit Stream(const char *) : head_(0) {}
    Stream(const Stream &) = delete;
    Stream &operator=(const Stream &) = delete;

    void write(const T &value) { items_.push_back(value); }
    // Reading an empty stream would hang in hardware.
    T read() {
        if (head_ == items_.size()) abort();
        const T value = items_[head_++];
        if (head_ == items_.size()) {
            items_.clear();
            head_ = 0;
        }
        return value;
    }
    bool empty() const { return head_ == items_.size(); }

private:
    std::vector<T> items_;
    size_t head_;
};

}  // namespace plain
}  // namespace m3vit

#endif
