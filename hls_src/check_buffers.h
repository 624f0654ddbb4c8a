// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// CAPACITY: whether the board's buffers suffice. SLOTS: whether what experts wrote is
// added to the residual stream exactly once.
#ifndef M3VIT_CHECK_BUFFERS_H
#define M3VIT_CHECK_BUFFERS_H

#include "check_shape.h"

namespace m3vit {

// Slots that EXPERTS_DOWN wrote and no LAYERNORM has added yet.
struct Pending {
    uint32_t slots;
    uint32_t line;  // of the first
    uint32_t rows;
    uint32_t channels;
};

// The smallest chunk of a layer: half of one line of results of 2^shift bytes each.
inline bool holds_weights(uint32_t k_lines, int shift) {
#pragma HLS INLINE
    return (32 * k_lines) >> shift <= static_cast<uint32_t>(HALF_LINES);
}

// A row of a map, `factor` times.
inline bool holds_map_row(uint32_t width, uint32_t pixel_lines, uint32_t factor) {
#pragma HLS INLINE
    return factor * product16(width, pixel_lines) <= static_cast<uint32_t>(MAP_LINES);
}

inline bool buffers_suffice(const Instruction &in) {
#pragma HLS INLINE
    const uint32_t row = line_count(in.cols_in);
    const bool tokens = in.rows <= static_cast<uint32_t>(TOKEN_LIMIT);
    const int shift = in.store == STORE_ACT8 ? 0 : in.store == STORE_SCORES ? 2 : 1;
    switch (in.opcode) {
    case OP_LINEAR: return holds_weights(row, shift);
    case OP_CONV3X3: return holds_weights(9 * row, shift) && holds_map_row(in.width, row, 2);
    case OP_EXPERTS_UP: return tokens && holds_weights(row, 0);
    case OP_EXPERTS_DOWN: return tokens && holds_weights(row, 1);
    case OP_ATTENTION:
    case OP_GATE: return tokens;
    case OP_UPSAMPLE2X: return holds_map_row(in.width, row, 2);
    case OP_OUTPUT_CLASSES:
        return holds_map_row(in.width, in.wide != 0 ? line_count(2 * in.cols_in) : row, 1);
    case OP_OUTPUT_DEPTH: return holds_map_row(in.width, 1, 1);
    default: return true;
    }
}

inline bool slots_fit(const Instruction &in, const Pending &pending) {
#pragma HLS INLINE
    const bool any = pending.slots != 0;
    switch (in.opcode) {
    case OP_EXPERTS_DOWN:
        return in.first_slot == pending.slots &&
               (!any || (in.dst == pending.line && in.rows == pending.rows &&
                         in.cols_out == pending.channels));
    case OP_LAYERNORM:
        return in.slots == pending.slots &&
               (!any || (in.slot_base == pending.line && in.rows == pending.rows &&
                         in.cols_in == pending.channels));
    case OP_END:
    case OP_OUTPUT_CLASSES:
    case OP_OUTPUT_DEPTH: return !any;
    default: return true;
    }
}

// What is pending behind an instruction that was not refused.
inline Pending pending_after(const Instruction &in, const Pending &pending) {
#pragma HLS INLINE
    Pending next = pending;
    if (in.opcode == OP_EXPERTS_DOWN) {
        next.slots = in.first_slot + in.top_k;
        next.line = in.dst;
        next.rows = in.rows;
        next.channels = in.cols_out;
    } else if (in.opcode == OP_LAYERNORM) {
        next.slots = 0;
    }
    return next;
}

}  // namespace m3vit

#endif
