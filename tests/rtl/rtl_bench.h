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

// An item as bytes: words of the tool by their bits, anything else by its memory.
template <typename Item>
struct Layout {
    static constexpr unsigned SIZE = sizeof(Item);
    static void load(Item &item, const uint8_t *bytes) { memcpy(&item, bytes, SIZE); }
    static void store(const Item &item, uint8_t *bytes) { memcpy(bytes, &item, SIZE); }
};
template <int BITS>
struct Layout<ap_uint<BITS>> {
    static constexpr unsigned SIZE = BITS / 8;
    static void load(ap_uint<BITS> &item, const uint8_t *bytes) {
        item = 0;
        for (unsigned i = 0; i < SIZE; ++i) m3vit::set_byte(item, static_cast<int>(i), bytes[i]);
    }
    static void store(const ap_uint<BITS> &item, uint8_t *bytes) {
        for (unsigned i = 0; i < SIZE; ++i) bytes[i] = m3vit::byte_at(item, static_cast<int>(i));
    }
};

template <typename Item>
void fill(hls::stream<Item> &stream, const uint8_t *bytes, unsigned size) {
    for (unsigned at = 0; at < size; at += Layout<Item>::SIZE) {
        Item item;
        Layout<Item>::load(item, bytes + at);
        stream.write(item);
    }
}

// Items that differ, that are missing and that are too many.
template <typename Item>
unsigned differing(hls::stream<Item> &stream, const uint8_t *bytes, unsigned size) {
    unsigned bad = 0;
    for (unsigned at = 0; at < size; at += Layout<Item>::SIZE) {
        uint8_t found[Layout<Item>::SIZE];
        if (stream.empty()) {
            ++bad;
            continue;
        }
        const Item item = stream.read();
        Layout<Item>::store(item, found);
        bad += memcmp(found, bytes + at, sizeof found) != 0;
    }
    while (!stream.empty()) {
        stream.read();
        ++bad;
    }
    return bad;
}

// Bytes of a memory that differ.
inline unsigned differing(const uint64_t *memory, const uint8_t *bytes, unsigned size) {
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
