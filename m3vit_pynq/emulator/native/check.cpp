// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// What is refused: docs/numerics.md, "Refusals". All arithmetic has 64 bits:
// fields have at most 32 and factors at most 2^16.
#include "check.h"

#include "footprint.h"

namespace fast {

using namespace m3vit;

namespace {

constexpr uint32_t MAX_SHIFT = 47;

bool at_least_one(const Instruction &i) {
    switch (i.opcode) {
    case OP_LOAD_PATCHES: return i.height && i.width && i.patch;
    case OP_LOAD_RESIDUAL: return i.rows && i.cols_out;
    case OP_LAYERNORM: return i.rows && i.cols_in;
    case OP_LINEAR: return i.rows && i.cols_in && i.cols_out;
    case OP_ATTENTION: return i.rows && i.heads;
    case OP_GATE: return i.rows && i.experts;
    case OP_EXPERTS_UP:
    case OP_EXPERTS_DOWN: return i.rows && i.experts && i.cols_in && i.cols_out;
    case OP_CONV3X3: return i.height && i.width && i.cols_in && i.cols_out;
    case OP_UPSAMPLE2X:
    case OP_OUTPUT_CLASSES: return i.height && i.width && i.cols_in;
    case OP_OUTPUT_DEPTH: return i.height && i.width;
    default: return true;
    }
}

bool activates(const Instruction &i) {
    return i.activation <= ACTIVATION_GELU &&
           (i.activation == ACTIVATION_NONE || i.store == STORE_ACT8);
}

bool layer(const Instruction &i) {
    return matrix_cols(i) <= MAX_K && i.cols_out <= MAX_OUTPUTS && i.weight_bits == 8;
}

bool map_fits(const Instruction &i, uint64_t factor, uint64_t pixels) {
    return factor * i.height <= MAX_SIDE && factor * i.width <= MAX_SIDE && pixels <= MAX_ROWS;
}

bool result_fits(const Instruction &i) {
    return (i.factor == 1 || i.factor == 2 || i.factor == 4) &&
           map_fits(i, i.factor, uint64_t{i.height} * i.width);
}

bool routes(const Instruction &i) {
    return i.rows <= MAX_TOKENS && i.experts <= MAX_EXPERTS && i.top_k >= 1 &&
           i.top_k <= MAX_TOP_K && i.top_k <= i.experts;
}

bool experts(const Instruction &i) { return routes(i) && i.expert_kind == 0 && layer(i); }

bool patches(const Instruction &i) {
    return i.patch <= MAX_PATCH && i.height <= MAX_SIDE && i.width <= MAX_SIDE &&
           i.height % i.patch == 0 && i.width % i.patch == 0 &&
           (i.height / i.patch) * (i.width / i.patch) <= MAX_ROWS &&
           3 * i.patch * i.width <= MAX_STRIP && i.dst_stride >= lines(3 * i.patch * i.patch);
}

bool layernorm(const Instruction &i) {
    const uint64_t eps = uint64_t{i.eps_high} << 32 | i.eps_low;
    return i.rows <= MAX_ROWS && i.cols_in <= MAX_LAYERNORM && i.shift_a >= 1 && i.shift_a <= 31 &&
           eps >= 1 && eps >> 63 == 0 && i.slots <= MAX_SLOTS && i.dst_stride >= lines(i.cols_in) &&
           (i.slots == 0 || i.src_stride >= lines(2 * i.cols_in));
}

bool attention(const Instruction &i) {
    return i.rows <= MAX_TOKENS && i.heads <= MAX_HEADS &&
           (i.head_dim == 16 || i.head_dim == 32 || i.head_dim == 64) && i.shift_a >= 1 &&
           i.shift_a <= MAX_SHIFT && i.shift_b >= 1 && i.shift_b <= MAX_SHIFT && i.passes >= 1 &&
           i.passes <= 2 && i.dst_stride >= lines(i.heads * i.head_dim);
}

bool within_limits(const Instruction &i) {
    if (!at_least_one(i)) return false;
    const uint64_t pixels = uint64_t{i.height} * i.width;
    switch (i.opcode) {
    case OP_LOAD_PATCHES: return patches(i);
    case OP_LOAD_RESIDUAL:
        return i.rows <= MAX_ROWS && i.cols_out <= MAX_OUTPUTS &&
               i.dst_stride >= lines(2 * i.cols_out);
    case OP_LAYERNORM: return layernorm(i);
    case OP_LINEAR:
        return i.rows <= MAX_ROWS && i.store <= STORE_SCORES && layer(i) && activates(i) &&
               (!i.planar || i.store == STORE_ACT8) &&
               i.dst_stride >= (i.planar ? i.rows : output_lines(i));
    case OP_CONV3X3:
        return map_fits(i, 1, pixels) && i.store <= STORE_ACT16 && layer(i) && activates(i) &&
               i.dst_stride >= output_lines(i);
    case OP_UPSAMPLE2X:
        return map_fits(i, 2, 4 * pixels) && i.cols_in <= MAX_OUTPUTS &&
               i.dst_stride >= lines(i.cols_in);
    case OP_ATTENTION: return attention(i);
    case OP_GATE: return routes(i) && i.gate_mode <= 1 && i.top_p == 0;
    case OP_EXPERTS_UP: return experts(i) && i.activation <= ACTIVATION_GELU;
    case OP_EXPERTS_DOWN: return experts(i) && i.first_slot + i.top_k <= MAX_SLOTS;
    case OP_OUTPUT_CLASSES: return result_fits(i) && i.cols_in <= MAX_CLASSES;
    case OP_OUTPUT_DEPTH: return result_fits(i);
    default: return true;
    }
}

bool inside(const Region &r, const m3vit_fast_layout &where) {
    return r.base >= where.workspace_line && r.end <= where.workspace_line + where.workspace_lines;
}

bool slots_match(const Instruction &i, const m3vit_fast_pending &pending) {
    switch (i.opcode) {
    case OP_EXPERTS_DOWN:
        return i.first_slot == pending.count &&
               (!pending.count ||
                (i.dst == pending.dst && i.rows == pending.rows && i.cols_out == pending.cols_out));
    case OP_LAYERNORM:
        return i.slots == pending.count &&
               (!pending.count || (i.slot_base == pending.dst && i.rows == pending.rows &&
                                   i.cols_in == pending.cols_out));
    case OP_END:
    case OP_OUTPUT_CLASSES:
    case OP_OUTPUT_DEPTH: return pending.count == 0;
    default: return true;
    }
}

bool overlaps(const Footprint &f) {
    for (int a = 0; a < f.count; ++a)
        for (int b = a + 1; b < f.count; ++b) {
            const Region &x = f.regions[a], &y = f.regions[b];
            if ((x.written() || y.written()) && x.base < y.end && y.base < x.end) return true;
        }
    return false;
}

}  // namespace

Instruction decode(const uint32_t *words) {
    Instruction i = decode_instruction(words);
    if (i.opcode != OP_LINEAR) i.planar = 0;
    if (i.opcode != OP_LINEAR && i.opcode != OP_CONV3X3) i.store = STORE_ACT8;
    if (i.opcode == OP_EXPERTS_DOWN) i.activation = ACTIVATION_NONE;
    return i;
}

uint32_t check(const Instruction &i, const Limits &limits, const m3vit_fast_pending &pending) {
    if (i.opcode > OP_EXPERTS_DOWN) return ERROR_BAD_OPCODE;
    if (!within_limits(i)) return ERROR_SHAPE;
    const m3vit_fast_layout &where = limits.layout;
    const Footprint f = footprint(i);
    for (int r = 0; r < f.count; ++r)
        if (f.regions[r].read() && !inside(f.regions[r], where)) return ERROR_READ_RANGE;
    if (f.frame_bytes > limits.frame_bytes) return ERROR_FRAME_RANGE;
    for (int r = 0; r < f.count; ++r)
        if (!f.regions[r].read() && !inside(f.regions[r], where)) return ERROR_WRITE_RANGE;
    if (f.result_bytes > limits.result_bytes) return ERROR_RESULT_RANGE;
    if (overlaps(f)) return ERROR_OVERLAP;
    for (int r = 0; r < f.weight_count; ++r)
        if (f.weights[r].base < where.weights_line ||
            f.weights[r].end > where.weights_line + where.part_lines)
            return ERROR_WEIGHTS_RANGE;
    if (f.half_lines > limits.capacity.half_lines || f.tokens > limits.capacity.tokens ||
        f.map_lines > limits.capacity.map_lines)
        return ERROR_CAPACITY;
    return slots_match(i, pending) ? ERROR_OK : ERROR_SLOTS;
}

void advance(const Instruction &i, m3vit_fast_pending *pending) {
    if (i.opcode == OP_EXPERTS_DOWN)
        *pending = {i.first_slot + i.top_k, i.dst, i.rows, i.cols_out};
    else if (i.opcode == OP_LAYERNORM)
        *pending = {};
}

}  // namespace fast
