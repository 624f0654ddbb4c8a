// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// SHAPE: whether the architecture can express the instruction at all. What is accepted
// here bounds every number that the later checks multiply.
#ifndef M3VIT_CHECK_SHAPE_H
#define M3VIT_CHECK_SHAPE_H

#include "config.h"
#include "rounding.h"
#include "words.h"

namespace m3vit {

constexpr uint32_t MAX_SHIFT = 47;
// Longest rows of whole lines: of LINEAR and experts, of one pixel of CONV3X3.
constexpr uint32_t MAX_K_LINES = MAX_K / LINE;
constexpr uint32_t MAX_PIXEL_LINES = MAX_K_LINES / 9;

// Product of two numbers of 16 bits. The callers' helpers are inlined, so that all calls in
// a check, and all in the making of a job, share one multiplier.
inline uint32_t product16(uint32_t a, uint32_t b) {
#pragma HLS INLINE off
    return static_cast<uint32_t>(static_cast<UInt<16>>(a)) *
           static_cast<uint32_t>(static_cast<UInt<16>>(b));
}

// Product of a number of 26 bits and one of 5 bits, likewise.
inline uint32_t multiple(uint32_t a, uint32_t b) {
#pragma HLS INLINE off
    const uint32_t product = static_cast<uint32_t>(static_cast<UInt<26>>(a)) *
                             static_cast<uint32_t>(static_cast<UInt<5>>(b));
#pragma HLS BIND_OP variable = product op = mul impl = fabric
    return product;
}

struct Division {
    uint32_t quotient;
    bool exact;
};

// n / d for n <= 2048 and d >= 1, one digit after the other.
inline Division divide(uint32_t n, uint32_t d) {
#pragma HLS INLINE off
    Division result = {0, false};
    uint32_t rest = 0;
DIGITS:
    for (int i = 11; i >= 0; --i) {
#pragma HLS PIPELINE II = 1
        rest = (rest << 1) | ((n >> i) & 1);
        const bool fits = rest >= d;
        if (fits) rest -= d;
        result.quotient = (result.quotient << 1) | (fits ? 1 : 0);
    }
    result.exact = rest == 0;
    return result;
}

// Lines of a destination row of LINEAR and CONV3X3.
inline uint32_t stored_lines(const Instruction &in) {
#pragma HLS INLINE
    const int doublings = in.store == STORE_ACT8 ? 0 : (in.store == STORE_SCORES ? 2 : 1);
    return line_count(in.cols_out << doublings);
}

inline bool counted(uint32_t count, uint32_t limit) {
#pragma HLS INLINE
    return count >= 1 && count <= limit;
}

// A map of at most 2048 x 2048 and at most 65536 pixels after enlarging.
inline bool map_allowed(const Instruction &in, uint32_t factor, uint32_t area) {
#pragma HLS INLINE
    const uint32_t side = MAX_SIDE / factor;
    return counted(in.height, side) && counted(in.width, side) &&
           product16(in.height, in.width) <= MAX_ROWS / area;
}

inline bool activation_allowed(const Instruction &in) {
#pragma HLS INLINE
    return in.activation <= ACTIVATION_GELU &&
           (in.activation == ACTIVATION_NONE || in.store == STORE_ACT8);
}

inline bool load_patches_allowed(const Instruction &in) {
#pragma HLS INLINE
    if (!counted(in.patch, MAX_PATCH) || !counted(in.height, MAX_SIDE) ||
        !counted(in.width, MAX_SIDE)) {
        return false;
    }
    const Division down = divide(in.height, in.patch);
    const Division across = divide(in.width, in.patch);
    return down.exact && across.exact && product16(down.quotient, across.quotient) <= MAX_ROWS &&
           3 * product16(in.patch, in.width) <= MAX_STRIP &&
           in.dst_stride >= line_count(3 * product16(in.patch, in.patch));
}

inline bool load_residual_allowed(const Instruction &in) {
#pragma HLS INLINE
    return counted(in.rows, MAX_ROWS) && counted(in.cols_out, MAX_OUTPUTS) &&
           in.dst_stride >= line_count(2 * in.cols_out);
}

inline bool layernorm_allowed(const Instruction &in) {
#pragma HLS INLINE
    return counted(in.rows, MAX_ROWS) && counted(in.cols_in, MAX_LAYERNORM) &&
           counted(in.shift_a, 31) && (in.eps_low != 0 || in.eps_high != 0) &&
           (in.eps_high >> 31) == 0 && in.slots <= MAX_SLOTS &&
           in.dst_stride >= line_count(in.cols_in) &&
           (in.slots == 0 || in.src_stride >= line_count(2 * in.cols_in));
}

inline bool linear_allowed(const Instruction &in) {
#pragma HLS INLINE
    return counted(in.rows, MAX_ROWS) && in.cols_in >= 1 && line_count(in.cols_in) <= MAX_K_LINES &&
           counted(in.cols_out, MAX_OUTPUTS) && in.store <= STORE_SCORES &&
           activation_allowed(in) && (in.planar == 0 || in.store == STORE_ACT8) &&
           in.dst_stride >= (in.planar != 0 ? in.rows : stored_lines(in)) && in.weight_bits == 8;
}

inline bool conv3x3_allowed(const Instruction &in) {
#pragma HLS INLINE
    return map_allowed(in, 1, 1) && in.cols_in >= 1 && line_count(in.cols_in) <= MAX_PIXEL_LINES &&
           counted(in.cols_out, MAX_OUTPUTS) && in.store <= STORE_ACT16 && activation_allowed(in) &&
           in.dst_stride >= stored_lines(in) && in.weight_bits == 8;
}

inline bool upsample_allowed(const Instruction &in) {
#pragma HLS INLINE
    return map_allowed(in, 2, 4) && counted(in.cols_in, MAX_OUTPUTS) &&
           in.dst_stride >= line_count(in.cols_in);
}

inline bool attention_allowed(const Instruction &in) {
#pragma HLS INLINE
    const bool dim = in.head_dim == 16 || in.head_dim == 32 || in.head_dim == 64;
    return counted(in.rows, MAX_TOKENS) && counted(in.heads, MAX_HEADS) && dim &&
           counted(in.shift_a, MAX_SHIFT) && counted(in.shift_b, MAX_SHIFT) &&
           counted(in.passes, 2) && in.dst_stride >= line_count(product16(in.heads, in.head_dim));
}

inline bool routing_allowed(const Instruction &in) {
#pragma HLS INLINE
    return counted(in.rows, MAX_TOKENS) && counted(in.experts, MAX_EXPERTS) &&
           counted(in.top_k, MAX_TOP_K) && in.top_k <= in.experts;
}

inline bool gate_allowed(const Instruction &in) {
#pragma HLS INLINE
    return routing_allowed(in) && in.gate_mode <= GATE_SOFTMAX_SELECTED && in.top_p == 0;
}

inline bool experts_allowed(const Instruction &in) {
#pragma HLS INLINE
    return routing_allowed(in) && in.cols_in >= 1 && line_count(in.cols_in) <= MAX_K_LINES &&
           counted(in.cols_out, MAX_OUTPUTS) && in.weight_bits == 8 && in.expert_kind == 0;
}

inline bool output_allowed(const Instruction &in) {
#pragma HLS INLINE
    const bool factor = in.factor == 1 || in.factor == 2 || in.factor == 4;
    return factor && counted(in.height << (in.factor >> 1), MAX_SIDE) &&
           counted(in.width << (in.factor >> 1), MAX_SIDE) &&
           product16(in.height, in.width) <= MAX_ROWS;
}

inline bool shape_allowed(const Instruction &in) {
#pragma HLS INLINE
    switch (in.opcode) {
    case OP_LOAD_PATCHES: return load_patches_allowed(in);
    case OP_LOAD_RESIDUAL: return load_residual_allowed(in);
    case OP_LAYERNORM: return layernorm_allowed(in);
    case OP_LINEAR: return linear_allowed(in);
    case OP_CONV3X3: return conv3x3_allowed(in);
    case OP_UPSAMPLE2X: return upsample_allowed(in);
    case OP_ATTENTION: return attention_allowed(in);
    case OP_GATE: return gate_allowed(in);
    case OP_EXPERTS_UP: return experts_allowed(in) && in.activation <= ACTIVATION_GELU;
    case OP_EXPERTS_DOWN: return experts_allowed(in) && in.first_slot + in.top_k <= MAX_SLOTS;
    case OP_OUTPUT_CLASSES: return output_allowed(in) && counted(in.cols_in, MAX_CLASSES);
    case OP_OUTPUT_DEPTH: return output_allowed(in);
    default: return true;
    }
}

}  // namespace m3vit

#endif
