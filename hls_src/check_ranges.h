// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// Where an instruction reads and writes: READ_RANGE, FRAME_RANGE, WRITE_RANGE,
// RESULT_RANGE, OVERLAP, WEIGHTS_RANGE. Lines are counted in 64 bits; no product here
// has a factor of more than 32 bits, most have 16 by 16.
#ifndef M3VIT_CHECK_RANGES_H
#define M3VIT_CHECK_RANGES_H

#include "check_shape.h"
#include "layout.h"

namespace m3vit {

// Lines first ... end - 1; nothing if end is 0.
struct Range {
    uint64_t first;
    uint64_t end;
};

// What an instruction touches in the workspace, and how much of frame and result.
struct Touched {
    Range reads[3];
    Range updated;  // read and written in place
    Range written;
    uint32_t frame_bytes;
    uint64_t result_bytes;
};

// Rows of `width` lines, rows <= 65536, or planes of one line a token.
inline Range rows_at(uint64_t first, uint32_t rows, uint32_t stride, uint32_t width) {
#pragma HLS INLINE
    const Range range = {first, first + product16(rows - 1, stride) + width};
    return range;
}

// Rows that follow each other; their number times their width is below 2^32.
inline Range joined_at(uint64_t first, uint32_t lines) {
#pragma HLS INLINE
    const Range range = {first, first + lines};
    return range;
}

// rows * width for up to 65536 rows.
inline uint32_t lines_of_rows(uint32_t rows, uint32_t width) {
#pragma HLS INLINE
    return product16(rows - 1, width) + width;
}

inline void touch_attention(const Instruction &in, Touched &touched) {
#pragma HLS INLINE
    const uint32_t planes = line_count(product16(in.heads, in.head_dim));
    const uint64_t src = in.src;
    touched.reads[0] = rows_at(src, planes, in.src_stride, in.rows);
    touched.reads[1] =
        rows_at(src + product16(in.k_offset, in.src_stride), planes, in.src_stride, in.rows);
    touched.reads[2] =
        rows_at(src + product16(in.v_offset, in.src_stride), planes, in.src_stride, in.rows);
    touched.written = rows_at(in.dst, in.rows, in.dst_stride, planes);
}

inline void touch_layer(const Instruction &in, uint32_t rows, Touched &touched) {
#pragma HLS INLINE
    const uint32_t width = stored_lines(in);
    touched.reads[0] = rows_at(in.src, rows, in.src_stride, line_count(in.cols_in));
    const bool planar = in.planar != 0 && in.opcode == OP_LINEAR;
    const Range target = planar ? rows_at(in.dst, width, in.dst_stride, rows)
                                : rows_at(in.dst, rows, in.dst_stride, width);
    if (in.store == STORE_RESIDUAL) {
        touched.updated = target;
    } else {
        touched.written = target;
    }
}

inline void touch_layernorm(const Instruction &in, Touched &touched) {
#pragma HLS INLINE
    const uint32_t width = line_count(2 * in.cols_in);
    const Range source = rows_at(in.src, in.rows, in.src_stride, width);
    if (in.slots != 0) {
        const uint32_t slot = lines_of_rows(in.rows, width);  // at most 2^21 lines
        touched.updated = source;
        touched.reads[0] = joined_at(in.slot_base, multiple(slot, in.slots));
    } else {
        touched.reads[0] = source;
    }
    touched.written = rows_at(in.dst, in.rows, in.dst_stride, line_count(in.cols_in));
}

inline void touch_experts(const Instruction &in, Touched &touched) {
#pragma HLS INLINE
    const uint32_t entries = product16(in.rows, in.top_k);
    const uint32_t narrow = line_count(in.cols_in);
    touched.reads[1] = joined_at(in.records, in.rows);
    if (in.opcode == OP_EXPERTS_UP) {
        touched.reads[0] = rows_at(in.src, in.rows, in.src_stride, narrow);
        touched.written = joined_at(in.dst, lines_of_rows(entries, line_count(in.cols_out)));
    } else {
        const uint32_t width = line_count(2 * in.cols_out);
        const uint32_t slot = lines_of_rows(in.rows, width);  // at most 2^19 lines
        const uint64_t first = static_cast<uint64_t>(in.dst) + multiple(slot, in.first_slot);
        touched.reads[0] = joined_at(in.src, lines_of_rows(entries, narrow));
        touched.written = joined_at(first, multiple(slot, in.top_k));
    }
}

inline void touch_output(const Instruction &in, uint32_t row_bytes, uint32_t pixel_bytes,
                         Touched &touched) {
#pragma HLS INLINE
    const uint32_t pixels = product16(in.height, in.width);
    const uint32_t enlarged = pixels << (in.factor & 6);  // times 1, 4 or 16
    touched.reads[0] = rows_at(in.src, pixels, in.src_stride, line_count(row_bytes));
    touched.result_bytes = static_cast<uint64_t>(line_count(enlarged * pixel_bytes)) * LINE;
}

inline Touched touched_by(const Instruction &in) {
#pragma HLS INLINE
    const Range none = {0, 0};
    Touched touched = {{none, none, none}, none, none, 0, 0};
    const uint32_t pixels = product16(in.height, in.width);
    switch (in.opcode) {
    case OP_LOAD_PATCHES: {
        const uint32_t patches =
            product16(divide(in.height, in.patch).quotient, divide(in.width, in.patch).quotient);
        touched.frame_bytes = 3 * pixels;
        touched.written =
            rows_at(in.dst, patches, in.dst_stride, line_count(3 * product16(in.patch, in.patch)));
        break;
    }
    case OP_LOAD_RESIDUAL:
        touched.written = rows_at(in.dst, in.rows, in.dst_stride, line_count(2 * in.cols_out));
        break;
    case OP_LAYERNORM: touch_layernorm(in, touched); break;
    case OP_LINEAR: touch_layer(in, in.rows, touched); break;
    case OP_CONV3X3: touch_layer(in, pixels, touched); break;
    case OP_ATTENTION: touch_attention(in, touched); break;
    case OP_GATE:
        touched.reads[0] = rows_at(in.src, in.per_image != 0 ? 1 : in.rows, in.src_stride,
                                   line_count(4 * in.experts));
        touched.written = joined_at(in.dst, in.rows);
        break;
    case OP_EXPERTS_UP:
    case OP_EXPERTS_DOWN: touch_experts(in, touched); break;
    case OP_UPSAMPLE2X:
        touched.reads[0] = rows_at(in.src, pixels, in.src_stride, line_count(in.cols_in));
        touched.written = rows_at(in.dst, 4 * pixels, in.dst_stride, line_count(in.cols_in));
        break;
    case OP_OUTPUT_CLASSES:
        touch_output(in, in.wide != 0 ? 2 * in.cols_in : in.cols_in, 1, touched);
        break;
    case OP_OUTPUT_DEPTH: touch_output(in, 2, 2, touched); break;
    default: break;
    }
    return touched;
}

inline bool in_workspace(const Range &range, const Layout &layout) {
#pragma HLS INLINE
    const uint64_t first = layout.workspace_line;
    return range.end == 0 || (range.first >= first && range.end <= first + layout.workspace_lines);
}

inline bool reads_inside(const Touched &touched, const Layout &layout) {
#pragma HLS INLINE
    return in_workspace(touched.reads[0], layout) && in_workspace(touched.reads[1], layout) &&
           in_workspace(touched.reads[2], layout) && in_workspace(touched.updated, layout);
}

inline bool writes_inside(const Touched &touched, const Layout &layout) {
#pragma HLS INLINE
    return in_workspace(touched.written, layout);
}

// A range without lines meets nothing.
inline bool meets(const Range &a, const Range &b) {
#pragma HLS INLINE
    return a.first < b.end && b.first < a.end;
}

inline bool written_meets_other(const Touched &touched) {
#pragma HLS INLINE
    bool found = meets(touched.updated, touched.written);
READS:
    for (int i = 0; i < 3; ++i) {
#pragma HLS UNROLL
        found = found || meets(touched.written, touched.reads[i]) ||
                meets(touched.updated, touched.reads[i]);
    }
    return found;
}

inline bool in_weights(const Range &range, const Layout &layout) {
#pragma HLS INLINE
    const uint64_t first = layout.weights_line;
    return range.first >= first && range.end <= first + layout.part_lines;
}

// Lines of one layer in each part: a parameter beat and K bytes for each row.
inline uint32_t layer_lines(uint32_t outputs, uint32_t k_lines) {
#pragma HLS INLINE
    const uint32_t beats = product16((outputs + 3) >> 2, 1 + 4 * k_lines);
    return (beats + 3) >> 2;  // four beats of 16 bytes a line
}

inline bool weights_inside(const Instruction &in, const Layout &layout) {
#pragma HLS INLINE
    constexpr uint32_t GELU_LINES = 4;
    Range weights = {0, 0};
    Range table = {0, 0};
    switch (in.opcode) {
    case OP_LOAD_RESIDUAL:
        table = joined_at(in.table, lines_of_rows(in.rows, line_count(2 * in.cols_out)));
        break;
    case OP_LAYERNORM: table = joined_at(in.table, line_count(8 * in.cols_in)); break;
    case OP_LINEAR:
    case OP_CONV3X3: {
        const uint32_t row = line_count(in.cols_in);
        weights = joined_at(in.weights,
                            layer_lines(in.cols_out, in.opcode == OP_CONV3X3 ? 9 * row : row));
        if (in.activation == ACTIVATION_GELU) table = joined_at(in.table, GELU_LINES);
        break;
    }
    case OP_EXPERTS_UP:
    case OP_EXPERTS_DOWN: {
        const uint64_t others =
            static_cast<uint64_t>(static_cast<UInt<6>>(in.experts - 1)) * in.expert_lines;
#pragma HLS BIND_OP variable = others op = mul impl = fabric
        weights = joined_at(in.weights, layer_lines(in.cols_out, line_count(in.cols_in)));
        weights.end += others;
        if (in.opcode == OP_EXPERTS_UP && in.activation == ACTIVATION_GELU) {
            table = joined_at(in.table, GELU_LINES * in.experts);
        }
        break;
    }
    default: break;
    }
    return (weights.end == 0 || in_weights(weights, layout)) &&
           (table.end == 0 || in_weights(table, layout));
}

}  // namespace m3vit

#endif
