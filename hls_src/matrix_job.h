// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// What the top hands to the matrix pass: an instruction that has passed all checks,
// with the numbers of its chunks and tiles. Operands that the opcode does not have
// are ignored.
//
// Chunk rule: a chunk has at most as many groups of four outputs as one half of the
// weight ping-pong and CHUNK_GROUPS allow, a multiple of 16 with results of one byte, of 8
// with two and of 4 with four, so that chunks begin on lines. The first chunk of a layer is
// smaller, because nothing hides its loading. In ATTENTION a chunk is a plane.
#ifndef M3VIT_MATRIX_JOB_H
#define M3VIT_MATRIX_JOB_H

#include "check_shape.h"
#include "descriptors.h"

namespace m3vit {

// Most groups in a chunk whose weight rows have `k_lines` lines, with results of 2^shift
// bytes: the groups of one line of results once more as long as they fit.
inline uint32_t groups_that_fit(uint32_t k_lines, int shift) {
    const uint32_t unit = 16u >> shift;
    const uint32_t unit_lines = (32 * k_lines) >> shift;  // of a half engine
    uint32_t groups = unit;
    uint32_t lines = 2 * unit_lines;
UNITS:
    for (uint32_t next = 2 * unit; next <= CHUNK_GROUPS; next += unit) {
#pragma HLS PIPELINE II = 1
        if (lines <= static_cast<uint32_t>(HALF_LINES)) groups = next;
        lines += unit_lines;
    }
    return groups;
}

// Chunks of a layer of `groups` groups: the first, and the rest in chunks of `later`, four or
// more. Their number a digit at a time.
inline uint32_t chunks_of(uint32_t groups, uint32_t first, uint32_t later) {
    constexpr int DIGITS = 10;
    static_assert((MAX_OUTPUTS / 4) >> DIGITS < 4, "the digits suffice");
    uint32_t rest = groups > first ? groups - first + later - 1 : 0;
    uint32_t quotient = 0;
DIVIDE:
    for (int i = 0; i < DIGITS; ++i) {
#pragma HLS PIPELINE II = 1
        const int digit = DIGITS - 1 - i;
        if (rest >= later << digit) {
            rest -= later << digit;
            quotient |= 1u << digit;
        }
    }
    return 1 + quotient;
}

// Channels of ATTENTION: heads * head_dim, head_dim being 16, 32 or 64.
inline uint32_t head_channels(uint32_t heads, uint32_t head_dim) {
    return heads << (head_dim == 64 ? 6 : head_dim == 32 ? 5 : 4);
}

inline uint32_t filled_lines(uint32_t bytes) { return (bytes + LINE - 1) / LINE; }

// Tiles of up to 65536 rows, T being any small number.
inline uint32_t row_tiles(uint32_t rows) {
    constexpr uint32_t RECIPROCAL = ((1u << 20) + T - 1) / T;
    return static_cast<uint32_t>((uint64_t(rows + T - 1) * RECIPROCAL) >> 20);
}

inline MatrixJob make_matrix_job(const Instruction &in, uint32_t part_lines) {
    const bool conv = in.opcode == OP_CONV3X3;
    const bool attention = in.opcode == OP_ATTENTION;
    const bool up = in.opcode == OP_EXPERTS_UP;
    const bool down = in.opcode == OP_EXPERTS_DOWN;
    const bool layer = !attention && !up && !down;

    MatrixJob job = MatrixJob();
    job.mode = static_cast<uint8_t>(conv        ? MODE_CONV
                                    : attention ? MODE_ATTENTION
                                    : up        ? MODE_UP
                                    : down      ? MODE_DOWN
                                                : MODE_LINEAR);
    const uint32_t store = down ? STORE_ACT16 : STORE_ACT8;
    const uint32_t activation = ACTIVATION_NONE;
    job.store = static_cast<uint8_t>(layer ? in.store : store);
    job.activation = static_cast<uint8_t>(layer || up ? in.activation : activation);
    job.planar = static_cast<uint8_t>(layer && !conv ? in.planar : 0);
    job.passes = static_cast<uint8_t>(attention ? in.passes : 1);
    job.pad = static_cast<int8_t>(in.pad);
    job.shift_a = static_cast<uint8_t>(in.shift_a);
    job.shift_b = static_cast<uint8_t>(in.shift_b);
    job.mult_a = static_cast<uint16_t>(in.mult_a);
    job.mult_b = static_cast<uint16_t>(in.mult_b);
    job.rows = conv ? product16(in.height, in.width) : in.rows;
    job.height = static_cast<uint16_t>(in.height);
    job.width = static_cast<uint16_t>(in.width);

    const uint32_t outputs = attention ? head_channels(in.heads, in.head_dim) : in.cols_out;
    const int shift = job.store == STORE_ACT8 ? 0 : job.store == STORE_SCORES ? 2 : 1;
    const uint32_t row_lines = attention ? 1 : filled_lines(in.cols_in);
    const uint32_t k_lines = conv ? 9 * row_lines : row_lines;
    const uint32_t out_lines = filled_lines(outputs << shift);
    job.row_lines = static_cast<uint16_t>(row_lines);
    job.k_lines = static_cast<uint16_t>(k_lines);
    job.outputs = static_cast<uint16_t>(outputs);
    job.out_lines = static_cast<uint16_t>(out_lines);
    job.heads = static_cast<uint16_t>(in.heads);
    job.head_dim = static_cast<uint16_t>(in.head_dim);
    job.k_offset = static_cast<uint16_t>(in.k_offset);
    job.v_offset = static_cast<uint16_t>(in.v_offset);
    job.experts = static_cast<uint16_t>(up || down ? in.experts : 1);
    job.top_k = static_cast<uint16_t>(up || down ? in.top_k : 0);
    job.first_slot = static_cast<uint16_t>(down ? in.first_slot : 0);
    job.src_stride = static_cast<uint16_t>(down ? row_lines : in.src_stride);
    job.dst_stride = static_cast<uint16_t>(up || down ? out_lines : in.dst_stride);
    job.src = in.src;
    job.dst = in.dst;
    job.weights = in.weights;
    job.table = in.table;
    job.part_lines = part_lines;
    job.expert_lines = in.expert_lines;
    job.records = in.records;
    job.slot_lines = down ? product16(in.rows, out_lines) : 0;

    const uint32_t groups = (outputs + 3) / 4;
    const uint32_t most = groups_that_fit(k_lines, shift);
    const uint32_t small = most < FIRST_GROUPS ? most : static_cast<uint32_t>(FIRST_GROUPS);
    const uint32_t first = layer ? (groups < small ? groups : small) : most;
    job.first_groups = static_cast<uint16_t>(first);
    job.chunk_groups = static_cast<uint16_t>(most);
    const uint32_t layer_chunks = attention ? out_lines : chunks_of(groups, first, most);
    job.layer_chunks = static_cast<uint16_t>(layer_chunks);
    job.chunks = product16(layer_chunks, job.experts);
    const uint32_t tiles = row_tiles(job.rows);
    job.tiles = static_cast<uint16_t>(tiles);
    job.last_rows = static_cast<uint8_t>(job.rows - (tiles - 1) * T);
    return job;
}

}  // namespace m3vit

#endif
