// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// LOAD_PATCHES: frame to rows of patches. LOAD_RESIDUAL: table to residual
// memory.
#ifndef M3VIT_LOAD_FRAME_H
#define M3VIT_LOAD_FRAME_H

#include "cycles.h"
#include "types.h"

namespace m3vit {

// Bytes of a patch's row that move in one cycle.
constexpr int PIXEL_LANES = 16;

// `patch` rows of the frame: one row of patches. The first byte may lie inside
// a beat.
struct Strip {
    uint8_t byte[STRIP_BYTES + 2 * BEAT];
    int start;
};

inline void load_strip(const Beat *frame, uint32_t frame_bytes, uint32_t first, uint32_t bytes,
                       Strip &strip) {
    const uint32_t first_beat = first / BEAT;
    const int beats = static_cast<int>((first + bytes - 1) / BEAT - first_beat) + 1;
LOAD_STRIP:
    for (int b = 0; b < minimum(beats, STRIP_BYTES / BEAT + 2); ++b) {
#pragma HLS PIPELINE II = 1
        const Beat beat = read_beat(frame, first_beat + b, frame_bytes);
    STRIP_BEAT:
        for (int i = 0; i < BEAT; ++i) {
#pragma HLS UNROLL
            strip.byte[b * BEAT + i] = beat.byte[i];
        }
    }
    strip.start = static_cast<int>(first % BEAT);
    cycles::burst(beats, 1);
}

// Patch `gx` of a strip: rows of 3 * patch bytes, signed, one behind the other.
inline void cut_patch(const Strip &strip, int gx, int row_bytes, int patch, uint32_t line,
                      int8_t act[ACT_LINES][LINE]) {
    const int segment = 3 * patch;
PATCH_ROWS:
    for (int ky = 0; ky < minimum(patch, MAX_PATCH); ++ky) {
        const int first = strip.start + gx * segment + ky * row_bytes;
    PATCH_BYTES:
        for (int i = 0; i < minimum(segment, 3 * MAX_PATCH); ++i) {
#pragma HLS PIPELINE II = 1
#pragma HLS UNROLL factor = PIXEL_LANES
            const int byte = ky * segment + i;
            act[line + byte / LINE][byte % LINE] =
                static_cast<int8_t>(strip.byte[first + i] ^ 0x80);
        }
    }
}

// One strip arrives while the one before is cut.
inline void strip_step(const Instruction &in, int gy, const Beat *frame, uint32_t frame_bytes,
                       Strip &filled, const Strip &ready, int8_t act[ACT_LINES][LINE]) {
    const int patch = static_cast<int>(in.patch);
    const int columns = static_cast<int>(in.width) / patch;
    const uint32_t bytes = in.patch * 3 * in.width;
    cycles::Fork fork;
    if (static_cast<uint32_t>(gy + 1) * in.patch <= in.height) {
        load_strip(frame, frame_bytes, static_cast<uint32_t>(gy) * bytes, bytes, filled);
    }
    fork.branch();
    if (gy > 0) {
    PATCHES:
        for (int gx = 0; gx < minimum(columns, MAX_SIDE); ++gx) {
            const uint32_t r = static_cast<uint32_t>((gy - 1) * columns + gx);
            cut_patch(ready, gx, 3 * static_cast<int>(in.width), patch, in.dst + r * in.dst_stride,
                      act);
        }
        const uint64_t steps = in.patch * divide_up(3 * in.patch, PIXEL_LANES);
        cycles::loop(columns * steps, 1, MEMORY_LATENCY);
    }
    fork.branch();
    fork.join();
}

inline void run_load_patches(const Instruction &in, const Beat *frame, uint32_t frame_bytes,
                             int8_t act[ACT_LINES][LINE]) {
    static Strip ping;
    static Strip pong;
    const int strips = static_cast<int>(in.height / in.patch);
STRIPS:
    for (int gy = 0; gy < minimum(strips, MAX_SIDE) + 1; ++gy) {
        if (gy % 2 == 0) {
            strip_step(in, gy, frame, frame_bytes, ping, pong, act);
        } else {
            strip_step(in, gy, frame, frame_bytes, pong, ping, act);
        }
    }
}

inline void run_load_residual(const Instruction &in, const Beat *weights0,
                              int16_t residual[RESIDUAL_ELEMENTS]) {
    constexpr int per_beat = BEAT / 2;
    const int total = static_cast<int>(in.rows * in.cols_out);
    const int beats = (total + per_beat - 1) / per_beat;
    uint32_t row = in.dst;
    uint32_t column = 0;
LOAD_RESIDUAL:
    for (int b = 0; b < minimum(beats, RESIDUAL_ELEMENTS / per_beat + 1); ++b) {
#pragma HLS PIPELINE II = 1
        const Beat beat = weights0[in.table + b];
    RESIDUAL_BEAT:
        for (int i = 0; i < per_beat; ++i) {
#pragma HLS UNROLL
            if (b * per_beat + i < total) {
                residual[row + column] = signed16(beat.byte[2 * i], beat.byte[2 * i + 1]);
                ++column;
                if (column == in.cols_out) {
                    column = 0;
                    row += in.dst_stride;
                }
            }
        }
    }
    cycles::burst(beats, 1);
}

}  // namespace m3vit

#endif
