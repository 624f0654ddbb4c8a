// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// What the generated benches of tools/rtl share: streams from bytes, and streams and
// memories compared with the bytes that the specification expects.
#ifndef M3VIT_RTL_BENCH_H
#define M3VIT_RTL_BENCH_H

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "words.h"

namespace rtl {

// Items of BYTES bytes, in the low bits of words.
template <unsigned BYTES, int BITS>
void fill(hls::stream<ap_uint<BITS>> &stream, const uint8_t *bytes, unsigned size) {
    for (unsigned at = 0; at < size; at += BYTES) {
        ap_uint<BITS> word = 0;
        for (unsigned i = 0; i < BYTES; ++i)
            m3vit::set_byte(word, static_cast<int>(i), bytes[at + i]);
        stream.write(word);
    }
}

// Items that differ, that are missing and that are too many.
template <unsigned BYTES, int BITS>
unsigned differing(hls::stream<ap_uint<BITS>> &stream, const uint8_t *bytes, unsigned size) {
    unsigned bad = 0;
    for (unsigned at = 0; at < size; at += BYTES) {
        if (stream.empty()) {
            ++bad;
            continue;
        }
        const ap_uint<BITS> word = stream.read();
        bool is_equal = true;
        for (unsigned i = 0; i < BITS / 8; ++i) {
            const uint8_t expected = i < BYTES ? bytes[at + i] : 0;
            is_equal = is_equal && m3vit::byte_at(word, static_cast<int>(i)) == expected;
        }
        bad += !is_equal;
    }
    while (!stream.empty()) {
        stream.read();
        ++bad;
    }
    return bad;
}

// Bytes of a memory that differ.
inline unsigned differing_bytes(const uint64_t *memory, const uint8_t *bytes, unsigned size) {
    unsigned bad = 0;
    for (unsigned i = 0; i < size; ++i) {
        bad += ((memory[i / 8] >> (8 * (i % 8))) & 255) != bytes[i];
    }
    return bad;
}

template <typename Item>
unsigned left(hls::stream<Item> &stream) {
    return stream.debug_size();
}

}  // namespace rtl

#endif
