// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// Ports and the transfer of bytes through them.
#ifndef M3VIT_TYPES_H
#define M3VIT_TYPES_H

#include "config.h"

namespace m3vit {

// What one memory port moves per cycle: 128 bits.
struct Beat {
    uint8_t byte[BEAT];
};

// A memory that holds `bytes` bytes, of which the last beat may be partial.
// Hardware moves whole beats (buffers begin on a page); on a computer the
// bytes behind the end belong to somebody else.
inline Beat read_beat(const Beat *port, uint32_t index, uint32_t bytes) {
#ifdef __SYNTHESIS__
#pragma HLS INLINE
    (void)bytes;
    return port[index];
#else
    const uint64_t first = static_cast<uint64_t>(index) * BEAT;
    Beat beat = {};
READ_BYTES:
    for (int b = 0; b < BEAT; ++b) {
        if (first + b < bytes) beat.byte[b] = port[index].byte[b];
    }
    return beat;
#endif
}

// Write the first `count` bytes of a beat.
inline void write_beat(Beat *port, uint32_t index, const Beat &beat, int count) {
#ifdef __SYNTHESIS__
#pragma HLS INLINE
    Beat merged = count == BEAT ? beat : port[index];
MERGE_BYTES:
    for (int b = 0; b < BEAT; ++b) {
#pragma HLS UNROLL
        if (b < count) merged.byte[b] = beat.byte[b];
    }
    port[index] = merged;
#else
WRITE_BYTES:
    for (int b = 0; b < BEAT; ++b) {
        if (b < count) port[index].byte[b] = beat.byte[b];
    }
#endif
}

// Little-endian fields of a beat.
inline uint32_t unsigned32(const Beat &beat, int offset) {
    return static_cast<uint32_t>(beat.byte[offset]) |
           static_cast<uint32_t>(beat.byte[offset + 1]) << 8 |
           static_cast<uint32_t>(beat.byte[offset + 2]) << 16 |
           static_cast<uint32_t>(beat.byte[offset + 3]) << 24;
}

inline int32_t signed32(const Beat &beat, int offset) {
    return static_cast<int32_t>(unsigned32(beat, offset));
}

inline int16_t signed16(uint8_t low, uint8_t high) {
    return static_cast<int16_t>(static_cast<uint16_t>(low | high << 8));
}

inline int minimum(int a, int b) { return a < b ? a : b; }
inline int maximum(int a, int b) { return a > b ? a : b; }

// Division by a constant, rounded up.
inline uint32_t divide_up(uint32_t x, uint32_t d) { return (x + d - 1) / d; }

// Lines of activation memory that hold `channels` bytes.
inline uint32_t lines_of(uint32_t channels) { return divide_up(channels, LINE); }

}  // namespace m3vit

#endif
