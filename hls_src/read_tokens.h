// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// The rows that a pass works on, from the bank, once per chunk.
//
//   plan_tokens   chunks, where each one's row 0 lies, MODE_UP: a queue's rows -> runs
//   read_tokens   runs -> lines
//
// Rows that follow each other are one run; others are cut into short ones. Of a chunk
// the valid rows of all its tiles are read, and nothing behind them.
#ifndef M3VIT_READ_TOKENS_H
#define M3VIT_READ_TOKENS_H

#include "counts.h"
#include "runs.h"

namespace m3vit {

inline void plan_tokens(const MatrixJob job, Stream<Chunk> &chunks, Stream<uint32_t> &starts,
                        Stream<uint32_t> &sources, Stream<Runs> &counts, Stream<Run> &runs) {
    const bool listed = job.mode == MODE_UP;
    const bool joined = job.mode == MODE_DOWN || job.mode == MODE_ATTENTION ||
                        (!listed && job.src_stride == job.row_lines);
    const uint32_t row_runs = (job.row_lines + RUN_LINES - 1u) / RUN_LINES;
    const uint32_t row_rest = job.row_lines - (row_runs - 1) * RUN_LINES;  // in its last run
// sequential: the number of a chunk's rows comes with it
CHUNKS:
    for (uint32_t c = 0; c < job.chunks; ++c) {
        const uint32_t rows = chunk_rows(chunks.read());
        Runs count;
        count.lines = small_product(rows, job.row_lines);
        count.runs = joined ? (rows != 0 ? 1 : 0) : small_product(rows, row_runs);
        counts.write(count);
        const uint8_t last_run = static_cast<uint8_t>(joined ? 0 : row_runs - 1);
        const uint32_t rest = joined ? count.lines : row_rest;
        uint32_t next = starts.read();  // row after this one
        uint32_t line = 0;              // first line of the next run of this row
        uint8_t run_of_row = 0;
    RUNS:
        for (uint32_t i = 0; i < count.runs; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
            const bool last = run_of_row == last_run;
            uint32_t first = line;
            if (run_of_row == 0) {
                first = listed ? sources.read() : next;
                next += job.src_stride;
            }
            Run run;
            run.beat = first * LINE_BEATS;
            run.beats = (last ? rest : uint32_t(RUN_LINES)) * LINE_BEATS;
            runs.write(run);
            line = first + RUN_LINES;
            run_of_row = last ? 0 : run_of_row + 1;
        }
    }
}

inline void read_tokens(uint32_t chunks, Port<PortBeat> bank, Stream<Runs> &counts,
                        Stream<Run> &runs, Stream<Line> &lines) {
    read_lines(chunks, bank, counts, runs, lines);
}

}  // namespace m3vit

#endif
