// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// What each process needs of a chunk, from the walk to all of them.
//
//   in   placed   every chunk of the pass with the places of its data
//   out  runs0 ... runs3   what the weight readers read; two runs a chunk in runs0
//        token_starts, result_starts   row 0 of source and destination
//        the others            a copy of each chunk
//
// A copy waits for no other chunk, so that a process which is late only holds up what
// comes behind it: a chunk has two steps, and six more in which they leave the pipeline.
#ifndef M3VIT_SHARE_CHUNKS_H
#define M3VIT_SHARE_CHUNKS_H

#include "descriptors.h"

namespace m3vit {

// A run of beats of 16 bytes in beats of the port; empty unless `read`.
inline Run weight_run(bool read, uint32_t beat, uint32_t beats) {
#pragma HLS INLINE
    Run run;
    run.beat = beat * ROW_HEAD;
    run.beats = read ? beats * ROW_HEAD : 0;
    return run;
}

inline void share_chunks(const MatrixJob job, Stream<PlacedChunk> &placed, Stream<Run> &runs0,
                         Stream<Run> &runs1, Stream<Run> &runs2, Stream<Run> &runs3,
                         Stream<uint32_t> &token_starts, Stream<uint32_t> &result_starts,
                         Stream<Chunk> &widen_a_chunks, Stream<Chunk> &widen_b_chunks,
                         Stream<Chunk> &plan_tokens_chunks, Stream<Chunk> &window_chunks,
                         Stream<Chunk> &split_tokens_chunks, Stream<Chunk> &fill_a_chunks,
                         Stream<Chunk> &compute_a_chunks, Stream<Chunk> &select_words_chunks,
                         Stream<Chunk> &fill_b_chunks, Stream<Chunk> &compute_b_chunks,
                         Stream<Chunk> &select_tokens_chunks, Stream<Chunk> &split_results_chunks,
                         Stream<Chunk> &parameter_chunks, Stream<Chunk> &finish_chunks,
                         Stream<Chunk> &reorder_chunks, Stream<Chunk> &merge_chunks,
                         Stream<Chunk> &plan_results_chunks) {
    const bool attention = job.mode == MODE_ATTENTION;
    const bool gelu = job.activation == ACTIVATION_GELU;
    constexpr uint32_t LINE_SIXTEENS = LINE / BEAT;
    const uint32_t part = job.part_lines * LINE_SIXTEENS;
    const uint32_t steps = 8 * job.chunks;
    PlacedChunk now = PlacedChunk();
    uint8_t step = 0;  // of the chunk
SHARE:
    for (uint32_t i = 0; i < steps; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
        const bool table = step == 0;
        if (table) now = placed.read();
        const bool read = now.chunk.tiles != 0;
        const bool layer = read && !attention;
        const uint32_t third = now.table * LINE_SIXTEENS;
        const Run table_run = weight_run(read && gelu, third, TABLE_LINES * LINE_SIXTEENS);
        const Run rows_run = weight_run(read, now.weights, now.beats);
        if (step < 2) runs0.write(table ? table_run : rows_run);
        if (table) {
            const uint32_t beat2 = attention ? third : now.weights + 2 * part;
            runs1.write(weight_run(layer, now.weights + part, now.beats));
            runs2.write(weight_run(read, beat2, now.beats));
            runs3.write(weight_run(layer, now.weights + 3 * part, now.beats));
            token_starts.write(now.tokens);
            result_starts.write(now.results);
            widen_a_chunks.write(now.chunk);
            widen_b_chunks.write(now.chunk);
            plan_tokens_chunks.write(now.chunk);
            window_chunks.write(now.chunk);
            split_tokens_chunks.write(now.chunk);
            fill_a_chunks.write(now.chunk);
            compute_a_chunks.write(now.chunk);
            select_words_chunks.write(now.chunk);
            fill_b_chunks.write(now.chunk);
            compute_b_chunks.write(now.chunk);
            select_tokens_chunks.write(now.chunk);
            split_results_chunks.write(now.chunk);
            parameter_chunks.write(now.chunk);
            finish_chunks.write(now.chunk);
            reorder_chunks.write(now.chunk);
            merge_chunks.write(now.chunk);
            plan_results_chunks.write(now.chunk);
        }
        step = (step + 1) & 7;
    }
}

}  // namespace m3vit

#endif
