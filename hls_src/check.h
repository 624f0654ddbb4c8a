// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// What the accelerator refuses, in the order of docs/numerics.md, "Refusals".
// An instruction is summarised as what it would touch, in 64-bit arithmetic,
// and held against the capacities; nothing is executed before that.
#ifndef M3VIT_CHECK_H
#define M3VIT_CHECK_H

#include "memories.h"
#include "types.h"

namespace m3vit {

constexpr uint32_t MAX_SHIFT = 47;
constexpr uint32_t GELU_BEATS = 256 / BEAT;

// Sizes that vary from run to run.
struct Buffers {
    uint32_t frame_bytes;
    uint32_t output_bytes;
    uint32_t weight_beats;  // of each part
};

// Rows of a tensor in one memory. The memory is named by the error that says it
// was left; OK stands for no tensor.
struct Extent {
    Error memory;
    uint64_t base;
    uint64_t rows;
    uint64_t stride;
    uint64_t width;
};

struct Demands {
    Extent source;
    Extent destination;
    Extent scratch;
    uint64_t weights_end;
    uint64_t row_beats;
    uint64_t queued;
};

inline Extent no_extent() {
    Extent extent = {ERROR_OK, 0, 0, 0, 0};
    return extent;
}

inline Extent extent_of(Error memory, uint64_t base, uint64_t rows, uint64_t stride,
                        uint64_t width) {
    Extent extent = {memory, base, rows, stride, width};
    return extent;
}

inline uint64_t extent_end(const Extent &e) { return e.base + (e.rows - 1) * e.stride + e.width; }

inline bool overlap(const Extent &a, const Extent &b) {
    return a.memory == b.memory && a.memory != ERROR_OK && a.base < extent_end(b) &&
           b.base < extent_end(a);
}

inline bool fits(const Extent &e, const Buffers &buffers) {
    uint64_t capacity = 0;
    switch (e.memory) {
    case ERROR_ACT_RANGE: capacity = ACT_LINES; break;
    case ERROR_RESIDUAL_RANGE: capacity = RESIDUAL_ELEMENTS; break;
    case ERROR_SCORES_RANGE: capacity = SCORE_ELEMENTS; break;
    case ERROR_FRAME_RANGE: capacity = buffers.frame_bytes; break;
    case ERROR_OUTPUT_RANGE: capacity = buffers.output_bytes; break;
    default: return true;
    }
    return extent_end(e) <= capacity;
}

inline bool within(uint32_t x, uint32_t low, uint32_t high) { return low <= x && x <= high; }

inline bool side_fits(uint32_t side, uint32_t factor) { return within(side, 1, MAX_SIDE / factor); }

inline bool map_fits(const Instruction &in, uint32_t factor) {
    return side_fits(in.height, factor) && side_fits(in.width, factor);
}

inline bool activation_fits(const Instruction &in) {
    return in.activation <= ACTIVATION_GELU &&
           (in.activation == ACTIVATION_NONE || in.store == STORE_ACT8);
}

inline bool routing_fits(const Instruction &in) {
    return within(in.rows, 1, MAX_TOKENS) && in.experts <= MAX_EXPERTS &&
           within(in.top_k, 1, MAX_TOP_K) && in.top_k <= in.experts;
}

// The architecture's limits on shapes and parameters.
inline bool shape_fits(const Instruction &in) {
    const bool rows = within(in.rows, 1, MAX_ROWS);
    const bool outputs = within(in.cols_out, 1, MAX_OUTPUTS);
    const bool inputs = within(in.cols_in, 1, MAX_COLS);
    const uint32_t pixels = in.height * in.width;
    switch (in.opcode) {
    case OP_END: return true;
    case OP_LOAD_PATCHES:
        return within(in.patch, 1, MAX_PATCH) && map_fits(in, 1) && in.height % in.patch == 0 &&
               in.width % in.patch == 0 &&
               (in.height / in.patch) * (in.width / in.patch) <= MAX_ROWS &&
               3 * in.patch * in.width <= static_cast<uint32_t>(STRIP_BYTES);
    case OP_LOAD_RESIDUAL: return rows && outputs;
    case OP_LAYERNORM:
        return rows && within(in.cols_in, 1, MAX_LAYERNORM) && within(in.shift_a, 1, 31) &&
               (in.eps_low != 0 || in.eps_high != 0) && in.eps_high < 0x80000000u;
    case OP_LINEAR:
        return rows && inputs && outputs && in.store <= STORE_SCORES && activation_fits(in);
    case OP_ATTENTION:
        return within(in.rows, 1, MAX_TOKENS) && within(in.heads, 1, MAX_HEADS) &&
               (in.head_dim == 16 || in.head_dim == 32 || in.head_dim == 64) &&
               in.k_offset % in.head_dim == 0 && in.v_offset % in.head_dim == 0 &&
               within(in.shift_a, 1, MAX_SHIFT) && within(in.shift_b, 1, MAX_SHIFT);
    case OP_GATE: return routing_fits(in) && in.gate_mode <= GATE_SOFTMAX_SELECTED;
    case OP_EXPERTS:
        return routing_fits(in) && inputs && outputs && within(in.hidden, 1, MAX_COLS) &&
               in.scratch_stride >= lines_of(in.hidden);
    case OP_CONV3X3:
        return map_fits(in, 1) && pixels <= MAX_ROWS && in.cols_in >= 1 &&
               9 * LINE * lines_of(in.cols_in) <= MAX_COLS && outputs && in.store <= STORE_ACT16 &&
               activation_fits(in);
    case OP_UPSAMPLE2X: return map_fits(in, 2) && 4 * pixels <= MAX_ROWS && inputs;
    case OP_OUTPUT_CLASSES:
    case OP_OUTPUT_DEPTH:
        return (in.factor == 1 || in.factor == 2 || in.factor == 4) && map_fits(in, in.factor) &&
               pixels <= MAX_ROWS &&
               (in.opcode == OP_OUTPUT_DEPTH || within(in.cols_in, 1, MAX_CLASSES));
    default: return false;
    }
}

inline Extent act_rows(uint32_t base, uint64_t rows, uint32_t stride, uint32_t bytes) {
    return extent_of(ERROR_ACT_RANGE, base, rows, stride, lines_of(bytes));
}

inline uint64_t row_beats_of(uint64_t lines) { return 1 + LINE_BEATS * lines; }

inline uint64_t layer_beats(uint32_t outputs, uint64_t lines) {
    return divide_up(outputs, WEIGHT_PORTS) * row_beats_of(lines);
}

inline uint64_t larger(uint64_t a, uint64_t b) { return a > b ? a : b; }

// Destination of LINEAR and CONV3X3.
inline Extent stored_rows(const Instruction &in, uint64_t rows) {
    if (in.store == STORE_RESIDUAL || in.store == STORE_SCORES) {
        const Error memory = in.store == STORE_RESIDUAL ? ERROR_RESIDUAL_RANGE : ERROR_SCORES_RANGE;
        return extent_of(memory, in.dst, rows, in.dst_stride, in.cols_out);
    }
    const uint32_t bytes = in.store == STORE_ACT16 ? 2 * in.cols_out : in.cols_out;
    return act_rows(in.dst, rows, in.dst_stride, bytes);
}

inline Demands matrix_demands(const Instruction &in, uint64_t rows, uint64_t lines) {
    const uint64_t table =
        in.activation == ACTIVATION_GELU ? static_cast<uint64_t>(in.table) + GELU_BEATS : 0;
    Demands d = {act_rows(in.src, rows, in.src_stride, in.cols_in),
                 stored_rows(in, rows),
                 no_extent(),
                 0,
                 row_beats_of(lines),
                 0};
    d.weights_end = larger(in.weights + layer_beats(in.cols_out, lines), table);
    return d;
}

inline Demands experts_demands(const Instruction &in) {
    const uint32_t first_lines = lines_of(in.cols_in);
    const uint32_t second_lines = lines_of(in.hidden);
    Demands d = {act_rows(in.src, in.rows, in.src_stride, in.cols_in),
                 extent_of(ERROR_RESIDUAL_RANGE, in.dst, in.rows, in.dst_stride, in.cols_out),
                 act_rows(in.scratch, in.rows, in.scratch_stride, in.hidden),
                 0,
                 0,
                 0};
    const uint64_t weights =
        in.weights + (in.experts - 1) * static_cast<uint64_t>(in.expert_beats) +
        layer_beats(in.hidden, first_lines) + layer_beats(in.cols_out, second_lines);
    d.weights_end = larger(weights, in.table + static_cast<uint64_t>(GELU_BEATS) * in.experts);
    d.row_beats = row_beats_of(larger(first_lines, second_lines));
    return d;
}

// What an instruction of a good shape would touch.
inline Demands demands_of(const Instruction &in) {
    const uint64_t pixels = static_cast<uint64_t>(in.height) * in.width;
    const uint64_t table = in.table;
    Demands d = {no_extent(), no_extent(), no_extent(), 0, 0, 0};
    switch (in.opcode) {
    case OP_LOAD_PATCHES:
        d.source = extent_of(ERROR_FRAME_RANGE, 0, 1, 0, 3 * pixels);
        d.destination = act_rows(in.dst, pixels / (in.patch * in.patch), in.dst_stride,
                                 3 * in.patch * in.patch);
        break;
    case OP_LOAD_RESIDUAL:
        d.destination =
            extent_of(ERROR_RESIDUAL_RANGE, in.dst, in.rows, in.dst_stride, in.cols_out);
        d.weights_end = table + (static_cast<uint64_t>(in.rows) * in.cols_out + 7) / 8;
        break;
    case OP_LAYERNORM:
        d.source = extent_of(ERROR_RESIDUAL_RANGE, in.src, in.rows, in.src_stride, in.cols_in);
        d.destination = act_rows(in.dst, in.rows, in.dst_stride, in.cols_in);
        d.weights_end = table + divide_up(in.cols_in, 2);
        break;
    case OP_LINEAR: d = matrix_demands(in, in.rows, lines_of(in.cols_in)); break;
    case OP_CONV3X3: d = matrix_demands(in, pixels, 9 * lines_of(in.cols_in)); break;
    case OP_ATTENTION: {
        const uint32_t width = in.heads * in.head_dim;
        const uint32_t offset = in.k_offset > in.v_offset ? in.k_offset : in.v_offset;
        d.source = act_rows(in.src, in.rows, in.src_stride, offset + width);
        d.destination = act_rows(in.dst, in.rows, in.dst_stride, width);
        break;
    }
    case OP_GATE:
        d.source = extent_of(ERROR_SCORES_RANGE, in.src, in.per_image ? 1 : in.rows, in.src_stride,
                             in.experts);
        d.queued = static_cast<uint64_t>(in.rows) * in.top_k;
        break;
    case OP_EXPERTS: d = experts_demands(in); break;
    case OP_UPSAMPLE2X:
        d.source = act_rows(in.src, pixels, in.src_stride, in.cols_in);
        d.destination = act_rows(in.dst, 4 * pixels, in.dst_stride, in.cols_in);
        break;
    case OP_OUTPUT_CLASSES:
    case OP_OUTPUT_DEPTH: {
        const bool depth = in.opcode == OP_OUTPUT_DEPTH;
        const uint32_t bytes = depth ? 2 : (in.wide ? 2 * in.cols_in : in.cols_in);
        d.source = act_rows(in.src, pixels, in.src_stride, bytes);
        d.destination = extent_of(ERROR_OUTPUT_RANGE, 0, 1, 0,
                                  (depth ? 2 : 1) * in.factor * in.factor * pixels);
        break;
    }
    default: break;
    }
    return d;
}

inline bool has_destination_stride(const Instruction &in) {
    return in.opcode != OP_END && in.opcode != OP_GATE && in.opcode != OP_OUTPUT_CLASSES &&
           in.opcode != OP_OUTPUT_DEPTH;
}

// The error with which an instruction is refused, or ERROR_OK.
inline Error check_instruction(const Instruction &in, const Buffers &buffers,
                               const Queues &queues) {
    if (in.opcode > OP_OUTPUT_DEPTH) return ERROR_BAD_OPCODE;
    if (!shape_fits(in)) return ERROR_SHAPE;
    const Demands d = demands_of(in);
    if (has_destination_stride(in) && in.dst_stride < d.destination.width) return ERROR_SHAPE;
    if (!fits(d.source, buffers)) return d.source.memory;
    if (!fits(d.destination, buffers)) return d.destination.memory;
    if (!fits(d.scratch, buffers)) return d.scratch.memory;
    const bool in_scratch = d.scratch.memory != ERROR_OK;
    if (overlap(d.source, in_scratch ? d.scratch : d.destination)) return ERROR_ACT_RANGE;
    if (d.weights_end > buffers.weight_beats) return ERROR_WEIGHTS_RANGE;
    if (d.row_beats > WEIGHT_TILE_BEATS) return ERROR_WEIGHT_TILE;
    if (d.queued > QUEUE_ENTRIES) return ERROR_QUEUE;
    if (in.opcode == OP_EXPERTS &&
        (in.rows != queues.rows || in.experts != queues.experts || in.top_k != queues.top_k)) {
        return ERROR_QUEUE;
    }
    return ERROR_OK;
}

}  // namespace m3vit

#endif
