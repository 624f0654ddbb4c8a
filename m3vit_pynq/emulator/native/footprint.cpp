// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
#include "footprint.h"

namespace fast {

using namespace m3vit;

namespace {

uint64_t element(const Instruction &i) {
    if (i.opcode == OP_EXPERTS_DOWN) return 2;
    return i.store == STORE_SCORES ? 4 : i.store == STORE_ACT8 ? 1 : 2;
}

}  // namespace

uint64_t output_lines(const Instruction &i) { return lines(element(i) * i.cols_out); }

uint64_t matrix_cols(const Instruction &i) {
    return (i.opcode == OP_CONV3X3 ? 9 : 1) * 64 * lines(i.cols_in);
}

uint64_t layer_lines(uint64_t outputs, uint64_t k) {
    const uint64_t row_bytes = static_cast<uint64_t>(BEAT) + k;
    return lines((outputs + 3) / 4 * row_bytes);
}

namespace {

void weigh_layer(Footprint *f, const Instruction &i, uint64_t count) {
    f->weigh(i.weights, layer_lines(i.cols_out, matrix_cols(i)) + (count - 1) * i.expert_lines);
    if (i.activation == ACTIVATION_GELU) f->weigh(i.table, 4 * count);
    f->half_lines = 32 / element(i) * (matrix_cols(i) / 64);
}

void matrix(Footprint *f, const Instruction &i, uint64_t rows) {
    f->touch(READS, i.src, rows, i.src_stride, lines(i.cols_in));
    const uint64_t width = output_lines(i);
    const Access access = i.store == STORE_RESIDUAL ? UPDATES : WRITES;
    if (i.planar)
        f->touch(access, i.dst, width, i.dst_stride, rows);
    else
        f->touch(access, i.dst, rows, i.dst_stride, width);
    weigh_layer(f, i, 1);
    f->products = rows * i.cols_out * (i.opcode == OP_CONV3X3 ? 9 : 1) * i.cols_in;
}

void layernorm(Footprint *f, const Instruction &i) {
    const uint64_t width = lines(2 * i.cols_in);
    f->touch(i.slots ? UPDATES : READS, i.src, i.rows, i.src_stride, width);
    if (i.slots) f->touch(READS, i.slot_base, uint64_t{i.slots} * i.rows, width, width);
    f->touch(WRITES, i.dst, i.rows, i.dst_stride, lines(i.cols_in));
    f->weigh(i.table, lines(8 * i.cols_in));
}

void attention(Footprint *f, const Instruction &i) {
    const uint64_t width = i.heads * i.head_dim, planes = lines(width), stride = i.src_stride;
    f->touch(READS, i.src, planes, stride, i.rows);
    f->touch(READS, i.src + i.k_offset * stride, planes, stride, i.rows);
    f->touch(READS, i.src + i.v_offset * stride, planes, stride, i.rows);
    f->touch(WRITES, i.dst, i.rows, i.dst_stride, planes);
    f->tokens = i.rows;
    f->products = 2 * uint64_t{i.rows} * i.rows * width;
}

void experts(Footprint *f, const Instruction &i) {
    const uint64_t queued = uint64_t{i.rows} * i.top_k;
    f->touch(READS, i.records, i.rows, 1, 1);
    if (i.opcode == OP_EXPERTS_UP) {
        const uint64_t width = lines(i.cols_out);
        f->touch(READS, i.src, i.rows, i.src_stride, lines(i.cols_in));
        f->touch(WRITES, i.dst, queued, width, width);
    } else {
        const uint64_t hidden = lines(i.cols_in), width = lines(2 * i.cols_out);
        f->touch(READS, i.src, queued, hidden, hidden);
        f->touch(WRITES, i.dst + uint64_t{i.first_slot} * i.rows * width, queued, width, width);
    }
    weigh_layer(f, i, i.experts);
    f->tokens = i.rows;
    f->products = queued * i.cols_in * i.cols_out;
}

void output(Footprint *f, const Instruction &i, uint64_t row_bytes, uint64_t pixel_bytes) {
    const uint64_t pixels = uint64_t{i.height} * i.width;
    f->touch(READS, i.src, pixels, i.src_stride, lines(row_bytes));
    f->result_bytes = 64 * lines(pixel_bytes * i.factor * i.factor * pixels);
    f->map_lines = i.width * lines(row_bytes);
}

}  // namespace

Footprint footprint(const Instruction &i) {
    Footprint f{};
    const uint64_t pixels = uint64_t{i.height} * i.width;
    switch (i.opcode) {
    case OP_LOAD_PATCHES:
        f.frame_bytes = 3 * pixels;
        f.touch(WRITES, i.dst, pixels / (i.patch * i.patch), i.dst_stride,
                lines(3 * i.patch * i.patch));
        break;
    case OP_LOAD_RESIDUAL:
        f.touch(WRITES, i.dst, i.rows, i.dst_stride, lines(2 * i.cols_out));
        f.weigh(i.table, i.rows * lines(2 * i.cols_out));
        break;
    case OP_LAYERNORM: layernorm(&f, i); break;
    case OP_LINEAR: matrix(&f, i, i.rows); break;
    case OP_CONV3X3:
        matrix(&f, i, pixels);
        f.map_lines = 2 * i.width * lines(i.cols_in);
        break;
    case OP_ATTENTION: attention(&f, i); break;
    case OP_GATE:
        f.touch(READS, i.src, i.per_image ? 1 : i.rows, i.src_stride, lines(4 * i.experts));
        f.touch(WRITES, i.dst, i.rows, 1, 1);
        f.tokens = i.rows;
        break;
    case OP_EXPERTS_UP:
    case OP_EXPERTS_DOWN: experts(&f, i); break;
    case OP_UPSAMPLE2X:
        f.touch(READS, i.src, pixels, i.src_stride, lines(i.cols_in));
        f.touch(WRITES, i.dst, 4 * pixels, i.dst_stride, lines(i.cols_in));
        f.map_lines = 2 * i.width * lines(i.cols_in);
        break;
    case OP_OUTPUT_CLASSES: output(&f, i, (i.wide ? 2 : 1) * i.cols_in, 1); break;
    case OP_OUTPUT_DEPTH: output(&f, i, 2, 2); break;
    default: break;
    }
    return f;
}

}  // namespace fast
