// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// OUTPUT_CLASSES and OUTPUT_DEPTH: enlarge the last map and write one byte or
// two per pixel. While one row is computed, the row before is written.
#ifndef M3VIT_OUTPUTS_H
#define M3VIT_OUTPUTS_H

#include "cycles.h"
#include "requantise.h"
#include "types.h"

namespace m3vit {

// Where an output row or column lies between two of the map: twice the offset
// of its centre from the near one, -(u - 1) ... u - 1 for a factor of u.
struct Blend {
    int near_weight;  // the two weights add up to 2u
    int far_weight;
    int direction;  // of the far one
};

inline Blend blend_of(int position, int factor) {
    const int offset = 2 * position + 1 - factor;
    Blend blend;
    blend.direction = offset < 0 ? -1 : (offset > 0 ? 1 : 0);
    blend.far_weight = offset < 0 ? -offset : offset;
    blend.near_weight = 2 * factor - blend.far_weight;
    return blend;
}

// Bytes of the result on their way to full beats.
struct ByteWriter {
    Beat beat;
    int fill;
    uint32_t index;
};

inline void push_byte(ByteWriter &writer, uint8_t byte, Beat *output) {
#pragma HLS INLINE
    writer.beat.byte[writer.fill] = byte;
    ++writer.fill;
    if (writer.fill == BEAT) {
        write_beat(output, writer.index, writer.beat, BEAT);
        writer.fill = 0;
        ++writer.index;
    }
}

// Channels of one pixel: two rows of the map blended.
inline void blend_pixel(const int8_t near[LINE], const int8_t far[LINE], const Blend &rows,
                        bool wide, int32_t out[LINE]) {
    if (wide) {
    BLEND_WORDS:
        for (int c = 0; c < LINE / 2; ++c) {
#pragma HLS UNROLL
            const int n =
                signed16(static_cast<uint8_t>(near[2 * c]), static_cast<uint8_t>(near[2 * c + 1]));
            const int f =
                signed16(static_cast<uint8_t>(far[2 * c]), static_cast<uint8_t>(far[2 * c + 1]));
            out[c] = rows.near_weight * n + rows.far_weight * f;
        }
    } else {
    BLEND_BYTES:
        for (int c = 0; c < LINE; ++c) {
#pragma HLS UNROLL
            out[c] = rows.near_weight * near[c] + rows.far_weight * far[c];
        }
    }
}

// Largest of `channels` blended values; ties to the lower channel.
inline int32_t largest_channel(const int32_t near[LINE], const int32_t far[LINE],
                               const Blend &columns, int channels, int &index) {
    int32_t value[LINE];
    int32_t largest = INT32_MIN;
LARGEST:
    for (int c = 0; c < LINE; ++c) {
#pragma HLS UNROLL
        const int32_t v = columns.near_weight * near[c] + columns.far_weight * far[c];
        value[c] = c < channels ? v : INT32_MIN;
        largest = value[c] > largest ? value[c] : largest;
    }
    int first = LINE;
FIRST_LARGEST:
    for (int c = 0; c < LINE; ++c) {
#pragma HLS UNROLL
        const int candidate = value[c] == largest ? c : LINE;
        first = candidate < first ? candidate : first;
    }
    index = first;
    return largest;
}

// log2 of millimetres with 11 fractional bits to millimetres.
inline uint16_t depth_pixel(int32_t logarithm) {
    const int v = static_cast<int>(clamp(logarithm, 0, 32767));
    const int f = (v >> 3) & 255;
    const int rest = v & 7;
    const int32_t low = static_cast<int32_t>(POW_TABLE[f]);
    const int32_t step = static_cast<int32_t>(POW_TABLE[f + 1]) - low;
    const int64_t mm =
        rshift(low + ((step * rest + 4) >> 3), static_cast<uint32_t>(15 - (v >> 11)));
    return static_cast<uint16_t>(mm < 65535 ? mm : 65535);
}

// One output row of class ids. Lines of channels one after the other; the best
// so far of every pixel is kept in `best`.
inline void class_row(const Instruction &in, const int8_t act[ACT_LINES][LINE], uint32_t near_row,
                      uint32_t far_row, const Blend &rows, int32_t best[MAX_SIDE],
                      uint8_t classes[MAX_SIDE]) {
    const int width = static_cast<int>(in.width);
    const int factor = static_cast<int>(in.factor);
    const int line_channels = in.wide ? LINE / 2 : LINE;
    const int channels = static_cast<int>(in.cols_in);
    const int lines = (channels + line_channels - 1) / line_channels;
CLASS_LINES:
    for (int l = 0; l < minimum(lines, MAX_CLASSES / (LINE / 2)); ++l) {
        int32_t column[3][LINE];  // a sliding window: left, here, right
#pragma HLS ARRAY_PARTITION variable = column complete dim = 0
    CLASS_COLUMNS:
        for (int x = -1; x < minimum(width, MAX_SIDE); ++x) {
#pragma HLS PIPELINE II = 2
            if (x + 1 < width) {
                const uint32_t offset = static_cast<uint32_t>(x + 1) * in.src_stride + l;
                blend_pixel(act[near_row + offset], act[far_row + offset], rows, in.wide != 0,
                            column[(x + 1) % 3]);
            }
            if (x < 0) continue;
            const int left = maximum(x - 1, 0) % 3;
            const int right = minimum(x + 1, width - 1) % 3;
        CLASS_POSITIONS:
            for (int b = 0; b < minimum(factor, 4); ++b) {
                const Blend columns = blend_of(b, factor);
                int index = 0;
                const int32_t value = largest_channel(
                    column[x % 3], column[columns.direction < 0 ? left : right], columns,
                    minimum(channels - l * line_channels, line_channels), index);
                const int pixel = x * factor + b;
                if (l == 0 || value > best[pixel]) {
                    best[pixel] = value;
                    classes[pixel] = static_cast<uint8_t>(l * line_channels + index);
                }
            }
        }
        cycles::loop(width + 1, maximum(2, factor), VECTOR_LATENCY);
    }
}

// One output row of millimetres from one int16 channel.
inline void depth_row(const Instruction &in, const int8_t act[ACT_LINES][LINE], uint32_t near_row,
                      uint32_t far_row, const Blend &rows, uint16_t depth[MAX_SIDE]) {
    const int width = static_cast<int>(in.width);
    const int factor = static_cast<int>(in.factor);
    const uint32_t total_bits = factor == 1 ? 2 : (factor == 2 ? 4 : 6);  // log2 (2u)^2
    int32_t left = 0, here = 0, right = 0;
DEPTH_COLUMNS:
    for (int x = -1; x < minimum(width, MAX_SIDE); ++x) {
#pragma HLS PIPELINE II = 2
        if (x + 1 < width) {
            const uint32_t offset = static_cast<uint32_t>(x + 1) * in.src_stride;
            const int8_t *n = act[near_row + offset];
            const int8_t *f = act[far_row + offset];
            right =
                rows.near_weight *
                    signed16(static_cast<uint8_t>(n[0]), static_cast<uint8_t>(n[1])) +
                rows.far_weight * signed16(static_cast<uint8_t>(f[0]), static_cast<uint8_t>(f[1]));
        }
        if (x == 0) left = here;
    DEPTH_POSITIONS:
        for (int b = 0; x >= 0 && b < minimum(factor, 4); ++b) {
            const Blend columns = blend_of(b, factor);
            const int32_t far = columns.direction < 0 ? left : right;
            const int32_t sum = columns.near_weight * here + columns.far_weight * far;
            depth[x * factor + b] = depth_pixel(static_cast<int32_t>(rshift(sum, total_bits)));
        }
        left = here;
        here = right;
    }
    cycles::loop(width + 1, maximum(2, factor), VECTOR_LATENCY);
}

inline void run_outputs(const Instruction &in, const int8_t act[ACT_LINES][LINE], Beat *output) {
    static int32_t best[MAX_SIDE];
    static uint8_t classes[MAX_SIDE];
    static uint16_t depth[MAX_SIDE];
    const bool is_depth = in.opcode == OP_OUTPUT_DEPTH;
    const int height = static_cast<int>(in.height);
    const int factor = static_cast<int>(in.factor);
    const int pixels = static_cast<int>(in.width) * factor;
    const uint32_t row_lines = in.width * in.src_stride;
    ByteWriter writer = {{{0}}, 0, 0};
    uint64_t writing = 0;
OUTPUT_ROWS:
    for (int row = 0; row < minimum(height * factor, MAX_SIDE); ++row) {
        const int y = row / factor;
        const Blend rows = blend_of(row % factor, factor);
        const int other = minimum(maximum(y + rows.direction, 0), height - 1);
        const uint32_t near_row = in.src + static_cast<uint32_t>(y) * row_lines;
        const uint32_t far_row = in.src + static_cast<uint32_t>(other) * row_lines;
        cycles::Fork fork;
        if (is_depth) {
            depth_row(in, act, near_row, far_row, rows, depth);
        } else {
            class_row(in, act, near_row, far_row, rows, best, classes);
        }
        fork.branch();
        cycles::loop(writing, 1, 0);  // the row before, meanwhile
        fork.branch();
        fork.join();
    WRITE_ROW:
        for (int x = 0; x < minimum(pixels, MAX_SIDE); ++x) {
#pragma HLS PIPELINE II = 1
            if (is_depth) {
                push_byte(writer, static_cast<uint8_t>(depth[x] & 0xff), output);
                push_byte(writer, static_cast<uint8_t>(depth[x] >> 8), output);
            } else {
                push_byte(writer, classes[x], output);
            }
        }
        writing = pixels;
    }
    if (writer.fill > 0) write_beat(output, writer.index, writer.beat, writer.fill);
    cycles::loop(writing, 1, DRAM_LATENCY);
    cycles::traffic(static_cast<uint64_t>(writer.index) * BEAT + writer.fill);
}

}  // namespace m3vit

#endif
