// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// What one port of the row pass reads or writes: runs of consecutive beats.
//
// Rows that follow each other are cut into long runs, whatever their length, each a request
// alone, which the port's adapter divides. Other rows are one run each; as many of them are
// requested together as their bursts fit half of what a port buffers, so that a request never
// waits for a beat that is taken later: two such groups, or two long runs, are under way.
#ifndef M3VIT_ROWS_H
#define M3VIT_ROWS_H

#include "words.h"

namespace m3vit {

constexpr uint32_t JOINED_LINES = 1024;
constexpr uint32_t JOINED_BEATS = JOINED_LINES * LINE_BEATS;
// Bursts of a group, half of what a port has under way by the top's pragmas, and their longest.
constexpr int GROUP_BURSTS = 8;
constexpr int BURST_BEATS = 16;

struct Rows {
    uint32_t line;         // of the first run
    uint32_t runs;         // 0: nothing
    uint32_t stride;       // lines from one row to the next
    uint32_t part_stride;  // lines from one part of a row to the next
    uint16_t beats;        // of a run
    uint16_t last_beats;   // of the last run
    uint8_t parts;         // runs of a row
    uint8_t group;         // runs that are requested together
};

inline Rows no_rows() {
#pragma HLS INLINE
    const Rows rows = {0, 0, 0, 0, 0, 0, 1, 1};
    return rows;
}

// Consecutive beats.
inline Rows joined_rows(uint32_t line, uint32_t beats) {
#pragma HLS INLINE
    Rows rows = no_rows();
    rows.line = line;
    rows.runs = (beats + JOINED_BEATS - 1) / JOINED_BEATS;
    rows.stride = JOINED_LINES;
    rows.beats = JOINED_BEATS;
    const uint32_t rest = beats % JOINED_BEATS;
    rows.last_beats = static_cast<uint16_t>(rest == 0 ? JOINED_BEATS : rest);
    return rows;
}

// Runs of `beats` beats that are requested together.
inline uint32_t run_group(uint32_t beats) {
#pragma HLS INLINE
    const uint32_t bursts = (beats + BURST_BEATS - 1) / BURST_BEATS;
    uint32_t group = 1;
    for (int log = 1; log <= 3; ++log) {
#pragma HLS UNROLL
        if (bursts <= static_cast<uint32_t>(GROUP_BURSTS >> log)) group = 1u << log;
    }
    return group;
}

// Rows of `lines` lines, one run each.
inline Rows single_rows(uint32_t line, uint32_t count, uint32_t lines, uint32_t stride) {
#pragma HLS INLINE
    Rows rows = no_rows();
    rows.line = line;
    rows.runs = count;
    rows.stride = stride;
    rows.beats = static_cast<uint16_t>(lines * LINE_BEATS);
    rows.last_beats = rows.beats;
    rows.group = static_cast<uint8_t>(run_group(rows.beats));
    return rows;
}

// Rows of `lines` lines, `total` lines in all.
inline Rows rows_of(uint32_t line, uint32_t count, uint32_t lines, uint32_t stride,
                    uint32_t total) {
#pragma HLS INLINE
    const bool joined = stride == lines;
    return joined ? joined_rows(line, total * LINE_BEATS) : single_rows(line, count, lines, stride);
}

// Where the next run starts.
struct RunWalk {
    uint32_t row_line;
    uint32_t line;
    uint32_t left;  // runs
    uint8_t part;
};

inline RunWalk walk_of(const Rows &rows) {
#pragma HLS INLINE
    const RunWalk walk = {rows.line, rows.line, rows.runs, 0};
    return walk;
}

inline uint32_t beats_of_run(const Rows &rows, const RunWalk &walk) {
#pragma HLS INLINE
    return walk.left == 1 ? rows.last_beats : rows.beats;
}

inline RunWalk next_run(const Rows &rows, const RunWalk &walk) {
#pragma HLS INLINE
    RunWalk next = walk;
    const bool last_part = walk.part + 1 == rows.parts;
    next.row_line = last_part ? walk.row_line + rows.stride : walk.row_line;
    next.line = last_part ? walk.row_line + rows.stride : walk.line + rows.part_stride;
    next.part = static_cast<uint8_t>(last_part ? 0 : walk.part + 1);
    next.left = walk.left - 1;
    return next;
}

}  // namespace m3vit

#endif
