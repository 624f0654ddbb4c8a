// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// Makes the job of the row pass from an instruction that passed all checks.
#ifndef M3VIT_ROW_SETUP_H
#define M3VIT_ROW_SETUP_H

#include "check_ranges.h"
#include "row_job.h"

namespace m3vit {

inline RowJob idle_row_job() {
#pragma HLS INLINE
    RowJob job = RowJob();
    job.source = no_rows();
    job.slots0 = no_rows();
    job.slots1 = no_rows();
    job.slots2 = no_rows();
    job.slots3 = no_rows();
    job.table = no_rows();
    job.frame = no_rows();
    job.target = no_rows();
    job.updated = no_rows();
    job.image = no_rows();
    job.nothing = no_rows();
    return job;
}

inline void set_source(const Instruction &in, uint32_t rows, uint32_t lines, RowJob &job) {
#pragma HLS INLINE
    const uint32_t total = lines_of_rows(rows, lines);
    job.source = rows_of(in.src, rows, lines, in.src_stride, total);
    job.source_beats = total * LINE_BEATS;
}

inline void set_target(const Instruction &in, uint32_t rows, uint32_t lines, RowJob &job) {
#pragma HLS INLINE
    const uint32_t total = lines_of_rows(rows, lines);
    job.target = rows_of(in.dst, rows, lines, in.dst_stride, total);
    job.target_beats = total * LINE_BEATS;
}

inline void set_table(const Instruction &in, uint32_t lines, RowJob &job) {
#pragma HLS INLINE
    job.table_beats = lines * LINE_BEATS;
    job.table = joined_rows(in.table, job.table_beats);
}

inline void set_load_residual(const Instruction &in, RowJob &job) {
#pragma HLS INLINE
    const uint32_t lines = line_count(2 * in.cols_out);
    job.mode = ROW_COPY;
    set_table(in, lines_of_rows(in.rows, lines), job);
    set_target(in, in.rows, lines, job);
}

// Slots port, port + 4, ... of every row.
inline Rows slot_rows(const Instruction &in, uint32_t port, uint32_t lines, uint32_t slot_lines) {
#pragma HLS INLINE
    if (in.slots <= port) return no_rows();
    const uint32_t parts = (in.slots - port + 3) >> 2;
    const uint32_t line = in.slot_base + port * slot_lines;
    if (parts == 1) return joined_rows(line, slot_lines * LINE_BEATS);
    Rows rows = single_rows(line, multiple(in.rows, parts), lines, lines);
    rows.parts = static_cast<uint8_t>(parts);
    rows.part_stride = 4 * slot_lines;
    return rows;
}

// Rows in turns of 2^turn rows: a run each if they follow each other.
inline Rows turn_rows(uint32_t line, uint32_t count, uint32_t lines, uint32_t stride, uint32_t turn,
                      bool joined) {
#pragma HLS INLINE
    Rows rows = single_rows(line, count, lines, stride);
    if (joined) {
        const uint32_t before = (count - 1) >> turn;  // full turns in front of the last
        rows.runs = before + 1;
        rows.stride = lines << turn;
        rows.last_beats = static_cast<uint16_t>(product16(rows.beats, count - (before << turn)));
        rows.beats = static_cast<uint16_t>(rows.beats << turn);
        rows.group = 1;
    } else {
        rows.group = static_cast<uint8_t>(1u << turn);
    }
    return rows;
}

// LAYERNORM with slots writes residual rows and normalised rows in turns, which are as long
// as the stream in which the normalised rows wait, and as what a port buffers.
inline void set_slots(const Instruction &in, uint32_t wide, uint32_t narrow, RowJob &job) {
#pragma HLS INLINE
    NormJob &norm = job.norm;
    const uint32_t slot_lines = job.source_beats / LINE_BEATS;
    job.slots0 = slot_rows(in, 0, wide, slot_lines);
    job.slots1 = slot_rows(in, 1, wide, slot_lines);
    job.slots2 = slot_rows(in, 2, wide, slot_lines);
    job.slots3 = slot_rows(in, 3, wide, slot_lines);

    const bool wide_joined = in.src_stride == wide;
    const bool narrow_joined = in.dst_stride == narrow;
    const uint32_t wide_most = wide_joined ? 1u << MOST_TURN : run_group(norm.in_beats);
    const uint32_t narrow_most = narrow_joined ? 1u << MOST_TURN : run_group(norm.out_beats);
    uint32_t turn = 0;
    for (uint32_t next = 1; next <= MOST_TURN; ++next) {
#pragma HLS UNROLL
        const bool waits = (static_cast<uint32_t>(norm.out_beats) << next) <= NORMALISED_DEPTH;
        const bool requested = (1u << next) <= wide_most && (1u << next) <= narrow_most;
        if (waits && requested) turn = next;
    }
    norm.turn_rows = static_cast<uint8_t>(1u << turn);
    job.updated = turn_rows(in.src, in.rows, wide, in.src_stride, turn, wide_joined);
    job.target = turn_rows(in.dst, in.rows, narrow, in.dst_stride, turn, narrow_joined);
    job.target_beats += job.source_beats;
}

// Without slots the rows come through two ports in turn, as no port keeps up with a beat a cycle.
inline void set_row_pairs(const Instruction &in, uint32_t lines, RowJob &job) {
#pragma HLS INLINE
    const uint32_t even = (in.rows + 1) >> 1;
    const uint32_t stride = 2 * in.src_stride;
    job.source = single_rows(in.src, even, lines, stride);
    job.source_beats = lines_of_rows(even, lines) * LINE_BEATS;
    job.slots0 = single_rows(in.src + in.src_stride, in.rows >> 1, lines, stride);
}

inline void set_layernorm(const Instruction &in, RowJob &job) {
#pragma HLS INLINE
    const uint32_t wide = line_count(2 * in.cols_in);
    const uint32_t narrow = line_count(in.cols_in);
    job.mode = ROW_NORM;
    set_source(in, in.rows, wide, job);
    set_target(in, in.rows, narrow, job);
    set_table(in, line_count(8 * in.cols_in), job);

    NormJob &norm = job.norm;
    norm.eps = static_cast<uint64_t>(in.eps_high) << 32 | in.eps_low;
    norm.rows = in.rows;
    norm.table_beats = job.table_beats;
    norm.channels = static_cast<uint16_t>(in.cols_in);
    norm.in_beats = static_cast<uint16_t>(wide * LINE_BEATS);
    norm.out_beats = static_cast<uint16_t>(narrow * LINE_BEATS);
    norm.shift = static_cast<uint8_t>(in.shift_a);
    norm.slots = static_cast<uint8_t>(in.slots);
    norm.rounds = static_cast<uint8_t>(in.slots <= 4 ? 1 : (in.slots + 3) >> 2);
    const uint32_t shortest = norm.rounds > 1 && norm.in_beats < ROUND_STEPS ? ROUND_STEPS : 0;
    norm.round_steps = static_cast<uint16_t>(shortest != 0 ? shortest : norm.in_beats);
    norm.combine_steps = multiple(lines_of_rows(in.rows, norm.round_steps), norm.rounds);
    norm.row_beats = job.source_beats;
    norm.scale_steps = SCALE_STEPS * in.rows;
    norm.normalise_steps = 2 * job.target_beats;
    if (in.slots != 0) {
        set_slots(in, wide, narrow, job);
    } else {
        set_row_pairs(in, wide, job);
    }
}

inline void set_gate(const Instruction &in, RowJob &job) {
#pragma HLS INLINE
    const uint32_t tokens = in.per_image != 0 ? 1 : in.rows;
    const uint32_t lines = line_count(4 * in.experts);
    job.mode = ROW_GATE;
    set_source(in, tokens, lines, job);
    job.target_beats = in.rows * LINE_BEATS;
    job.target = joined_rows(in.dst, job.target_beats);
    GateJob &gate = job.gate;
    gate.tokens = static_cast<uint16_t>(tokens);
    gate.rows = static_cast<uint16_t>(in.rows);
    gate.experts = static_cast<uint8_t>(in.experts);
    gate.steps = static_cast<uint8_t>(lines * (LINE / 4));
    gate.logits = product16(tokens, gate.steps);
    gate.top_k = static_cast<uint8_t>(in.top_k);
    gate.over_all = in.gate_mode == GATE_SOFTMAX_ALL ? 1 : 0;
    gate.per_image = static_cast<uint8_t>(in.per_image);
}

// The map itself, and what each process behind `neighbours` has to do with it.
inline MapJob map_of(const Instruction &in, uint8_t mode, uint32_t row_bytes, uint32_t factor) {
#pragma HLS INLINE
    const uint32_t lines = line_count(row_bytes);
    const uint32_t every = lines * LINE_BEATS;
    const uint32_t some = (row_bytes + PORT_BYTES - 1) / PORT_BYTES;
    MapJob map = MapJob();
    map.mode = mode;
    map.height = static_cast<uint16_t>(in.height);
    map.width = static_cast<uint16_t>(in.width);
    map.channels = static_cast<uint16_t>(mode == ROW_DEPTH ? 1 : in.cols_in);
    map.pixel_beats = static_cast<uint16_t>(every);
    map.used_beats = static_cast<uint16_t>(mode == ROW_UPSAMPLE ? every : some);
    map.factor = static_cast<uint8_t>(factor);
    map.wide = static_cast<uint8_t>(mode == ROW_CLASSES ? in.wide : 0);
    const uint32_t beats = lines_of_rows(product16(in.height, in.width), map.used_beats);
    map.corners = beats << (factor & 6);
    map.load_steps = static_cast<uint16_t>(product16(in.width, every));
    map.give_steps = product16(in.width, map.used_beats) << (factor >> 1);
    map.out_rows = static_cast<uint16_t>(in.height << (factor >> 1));
    return map;
}

inline void set_upsample(const Instruction &in, RowJob &job) {
#pragma HLS INLINE
    const uint32_t lines = line_count(in.cols_in);
    const uint32_t pixels = product16(in.height, in.width);
    job.mode = ROW_UPSAMPLE;
    set_source(in, pixels, lines, job);
    set_target(in, 4 * pixels, lines, job);
    job.map = map_of(in, ROW_UPSAMPLE, in.cols_in, 2);
    job.upsample = job.map;
}

inline void set_output(const Instruction &in, RowJob &job) {
#pragma HLS INLINE
    const bool depth = in.opcode == OP_OUTPUT_DEPTH;
    const uint32_t row_bytes = depth ? 2 : (in.wide != 0 ? 2 * in.cols_in : in.cols_in);
    const uint32_t pixels = product16(in.height, in.width);
    job.mode = depth ? ROW_DEPTH : ROW_CLASSES;
    set_source(in, pixels, line_count(row_bytes), job);
    job.map = map_of(in, job.mode, row_bytes, in.factor);
    if (depth) {
        job.depth = job.map;
    } else {
        job.classes = job.map;
    }
    ResultJob &result = job.result;
    result.pixels = pixels << (in.factor & 6);
    result.two_bytes = depth ? 1 : 0;
    const uint32_t lines = line_count(depth ? 2 * result.pixels : result.pixels);
    result.steps = lines << (depth ? 5 : 6);  // LINE bytes, one or two a pixel
    job.image = joined_rows(0, lines * LINE_BEATS);
}

inline void set_load_patches(const Instruction &in, RowJob &job) {
#pragma HLS INLINE
    constexpr uint32_t BYTES = PORT_BYTES;
    const uint32_t strips = divide(in.height, in.patch).quotient;
    const uint32_t columns = divide(in.width, in.patch).quotient;
    const uint32_t row_bytes = 3 * in.width;
    const uint32_t piece = 3 * in.patch;
    const uint32_t strip_bytes = product16(row_bytes, in.patch);
    const uint32_t patch_bytes = product16(piece, in.patch);
    const uint32_t lines = line_count(patch_bytes);
    job.mode = ROW_PATCHES;
    set_target(in, product16(strips, columns), lines, job);
    const uint32_t frame_bytes = product16(row_bytes, in.height);
    job.frame = joined_rows(0, (frame_bytes + BYTES - 1) / BYTES);

    PatchJob &patches = job.patches;
    const bool aligned = row_bytes % BYTES == 0 && piece % BYTES == 0;
    patches.strips = static_cast<uint16_t>(strips);
    patches.columns = static_cast<uint16_t>(columns);
    patches.strip_bytes = static_cast<uint16_t>(strip_bytes);
    patches.row_bytes = static_cast<uint16_t>(row_bytes);
    patches.patch = static_cast<uint8_t>(in.patch);
    patches.piece_bytes = static_cast<uint8_t>(piece);
    patches.piece_steps =
        static_cast<uint8_t>(aligned ? piece / BYTES : (piece + 2 * BYTES - 2) / BYTES);
    patches.flush_steps = static_cast<uint8_t>(lines * LINE_BEATS - patch_bytes / BYTES);
    const uint32_t patch_steps = product16(in.patch, patches.piece_steps) + patches.flush_steps;
    patches.give_steps = product16(columns, patch_steps);
}

inline RowJob make_row_job(const Instruction &in) {
#pragma HLS INLINE off
#pragma HLS ALLOCATION function instances = product16 limit = 1
#pragma HLS ALLOCATION function instances = multiple limit = 1
#pragma HLS ALLOCATION function instances = divide limit = 1
    RowJob job = idle_row_job();
    switch (in.opcode) {
    case OP_LOAD_PATCHES: set_load_patches(in, job); break;
    case OP_LOAD_RESIDUAL: set_load_residual(in, job); break;
    case OP_LAYERNORM: set_layernorm(in, job); break;
    case OP_GATE: set_gate(in, job); break;
    case OP_UPSAMPLE2X: set_upsample(in, job); break;
    case OP_OUTPUT_CLASSES:
    case OP_OUTPUT_DEPTH: set_output(in, job); break;
    default: break;
    }
    return job;
}

}  // namespace m3vit

#endif
