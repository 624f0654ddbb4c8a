// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// Where the results of each chunk lie, as runs in the order in which they leave.
//
//   in   chunks, starts  where each chunk's row 0 lies; MODE_DOWN: lines to add
//        targets         MODE_DOWN: the row of each token of each chunk
//   out  counts, runs    for write_rows
//        residual_*      the same for read_residual; nothing unless the store is RESIDUAL
//
// Order: tile, segment of SEGMENT lines, valid row, line of the segment; planar: tile,
// line, valid row. Rows that follow each other without a gap and have one segment are
// one sequence of short runs.
#ifndef M3VIT_PLAN_RESULTS_H
#define M3VIT_PLAN_RESULTS_H

#include "read_tokens.h"
#include "shapes.h"

namespace m3vit {

// Lines that lie together: the segment of a row; planar: a line of all rows of a tile;
// all rows if they follow each other. How many runs it is, and lines of the last of them.
struct Unit {
    uint32_t runs;
    uint32_t rest;
};

inline Unit unit_of(uint32_t lines) {
#pragma HLS INLINE
    Unit unit;
    unit.runs = (lines + RUN_LINES - 1) / RUN_LINES;
    unit.rest = lines - (unit.runs - 1) * RUN_LINES;
    return unit;
}

inline void plan_results(const MatrixJob job, Stream<Chunk> &chunks, Stream<uint32_t> &starts,
                         Stream<uint32_t> &targets, Stream<Runs> &counts, Stream<Run> &runs,
                         Stream<Runs> &residual_counts, Stream<Run> &residual_runs) {
    const bool listed = job.mode == MODE_DOWN;
    const bool planar = job.planar != 0;
    const bool residual = !listed && job.store == STORE_RESIDUAL;
    constexpr uint32_t TILE = T;
// sequential: the number of a chunk's rows comes with it
CHUNKS:
    for (uint32_t c = 0; c < job.chunks; ++c) {
        const Chunk chunk = chunks.read();
        const uint32_t start = starts.read();
        const uint32_t rows = chunk_rows(chunk);
        const uint32_t width = chunk_lines(job, chunk);  // lines of a row
        const bool joined = !listed && !planar && width == job.dst_stride && width <= SEGMENT;
        const uint8_t segments =
            static_cast<uint8_t>(planar || joined ? 1 : (width + SEGMENT - 1) / SEGMENT);
        // Units of most segments (planar: tiles), and of the last.
        const Unit most = unit_of(planar ? TILE : uint32_t(SEGMENT));
        const Unit last = unit_of(planar   ? chunk.rows
                                  : joined ? small_product(rows, width)
                                           : width - (segments - 1) * SEGMENT);
        Runs count;
        count.lines = small_product(rows, width);
        const uint32_t of_tiles = small_product(chunk.tiles - 1u, most.runs) + last.runs;
        const uint32_t of_segments = small_product(segments - 1u, most.runs) + last.runs;
        count.runs = joined ? last.runs
                            : small_product(planar ? of_tiles : of_segments, planar ? width : rows);
        if (rows == 0) count.runs = 0;
        counts.write(count);
        Runs residual_count = count;
        if (!residual) residual_count.runs = residual_count.lines = 0;
        residual_counts.write(residual_count);

        const uint32_t unit_step = job.dst_stride;
        const uint32_t tile_step = planar ? TILE : uint32_t(job.dst_stride) * TILE;
        // Numbers of the last run of a unit and of the last unit of a segment.
        const uint32_t most_run_at = most.runs - 1;
        const uint32_t last_run_at = last.runs - 1;
        const uint8_t unit_at = static_cast<uint8_t>((planar ? width : TILE) - 1);
        const uint8_t last_unit_at =
            static_cast<uint8_t>(joined ? 0 : (planar ? width : uint32_t(chunk.rows)) - 1);
        uint32_t rows_of_tile[T];
#pragma HLS ARRAY_PARTITION variable = rows_of_tile dim = 0 complete
        uint32_t tile_line = start;
        uint32_t unit_line = start;
        uint32_t line = 0;  // next run of the unit
        uint32_t run_of_unit = 0;
        uint8_t unit = 0;  // row of the tile; planar: line
        uint8_t segment = 0;
        uint16_t segment_line = 0;
        uint16_t tile = 0;
        bool in_last_segment = segments == 1;
        bool in_last_tile = chunk.tiles == 1 || joined;
    RUNS:
        for (uint32_t i = 0; i < count.runs; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
            const bool in_last = planar ? in_last_tile : in_last_segment;
            const bool last_run = run_of_unit == (in_last ? last_run_at : most_run_at);
            const bool last_unit = last_run && unit == (in_last_tile ? last_unit_at : unit_at);
            const bool last_segment = last_unit && in_last_segment;

            uint32_t first = line;
            if (run_of_unit == 0) {
                first = unit_line + segment_line;
                if (listed) {
                    if (segment == 0) rows_of_tile[unit] = targets.read();
                    first = rows_of_tile[unit] + start + segment_line;
                }
            }
            const uint32_t rest = in_last ? last.rest : most.rest;
            Run run;
            run.beat = first * LINE_BEATS;
            run.beats = (last_run ? rest : uint32_t(RUN_LINES)) * LINE_BEATS;
            runs.write(run);
            if (residual) residual_runs.write(run);

            line = first + RUN_LINES;
            run_of_unit = last_run ? 0 : run_of_unit + 1;
            if (last_run) {
                unit = last_unit ? 0 : unit + 1;
                unit_line = last_segment ? tile_line + tile_step
                            : last_unit  ? tile_line
                                         : unit_line + unit_step;
            }
            if (last_unit) {
                in_last_segment = last_segment ? segments == 1 : segment + 2 == segments;
                segment = last_segment ? 0 : segment + 1;
                segment_line = last_segment ? 0 : segment_line + SEGMENT;
            }
            if (last_segment) {
                in_last_tile = tile + 2 == chunk.tiles;
                tile_line += tile_step;
                ++tile;
            }
        }
    }
}

}  // namespace m3vit

#endif
