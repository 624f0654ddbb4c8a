// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// The walk over a program's chunks: the only process that knows what an instruction
// does with experts and planes.
//
//   in   records   MODE_UP, MODE_DOWN: the records of all tokens, from the bank
//   out  placed    every chunk with the places of its data, experts ascending; chunks
//                  of an expert without tokens have tiles = 0
//        sources   MODE_UP: for each chunk the source rows of the expert's queue
//        targets   MODE_DOWN: likewise the rows of its tokens' slots (first channel)
//        gates     MODE_DOWN: for each chunk and tile the gates of its tokens
//
// A chunk leaves before the rows that belong to it, and all rows of a chunk before the
// next chunk. With queues, a pass over the records per expert fills the queue.
#ifndef M3VIT_WALK_H
#define M3VIT_WALK_H

#include "counts.h"
#include "shapes.h"
#include "walk_experts.h"

namespace m3vit {

// What each chunk of a layer adds to the places of the next.
struct WalkSteps {
    uint32_t first_results;  // lines of the destination, first chunk and others
    uint32_t results;
    uint32_t row_beats;  // beats of 16 bytes of a weight row with its parameters
    uint32_t sources;    // from one position in all queues to the next
    uint32_t targets;
};

inline WalkSteps walk_steps(const MatrixJob &job) {
    const int shift = job.store == STORE_ACT8 ? 4 : job.store == STORE_SCORES ? 2 : 3;
    const uint32_t line = job.planar ? job.dst_stride : 1u;
    WalkSteps steps;
    steps.first_results = static_cast<uint32_t>(counted<7, 16>(job.first_groups >> shift, line));
    steps.results = static_cast<uint32_t>(counted<7, 16>(job.chunk_groups >> shift, line));
    if (job.mode == MODE_ATTENTION) steps.first_results = steps.results = 1;
    steps.row_beats = 1 + job.k_lines * (LINE / BEAT);
    steps.sources = job.mode == MODE_DOWN ? job.row_lines : 0u;
    steps.targets = job.mode == MODE_UP ? job.out_lines : 0u;
    return steps;
}

inline void walk(const MatrixJob job, Port<PortBeat> records, Stream<PlacedChunk> &placed,
                 Stream<uint32_t> &sources, Stream<uint32_t> &targets, Stream<Gates> &gates) {
    const bool attention = job.mode == MODE_ATTENTION;
    const bool up = job.mode == MODE_UP;
    const bool down = job.mode == MODE_DOWN;
    const bool queues = up || down;
    const WalkSteps steps = walk_steps(job);
    const uint16_t most_outputs = static_cast<uint16_t>(attention ? LINE : 4 * job.chunk_groups);
    const uint16_t first_outputs = attention ? most_outputs : uint16_t(4 * job.first_groups);

    Bytes<RECORD_ENTRIES> expert_memory[TOKEN_LIMIT];
#pragma HLS BIND_STORAGE variable = expert_memory type = ram_s2p impl = bram
    Bytes<2 * RECORD_ENTRIES> gate_memory[TOKEN_LIMIT];
#pragma HLS BIND_STORAGE variable = gate_memory type = ram_s2p impl = bram
    Queued queue[TOKEN_LIMIT];
#pragma HLS AGGREGATE variable = queue
#pragma HLS BIND_STORAGE variable = queue type = ram_s2p impl = bram
    uint32_t slots[RECORD_ENTRIES];
#pragma HLS ARRAY_PARTITION variable = slots dim = 0 complete
    uint32_t slot_line = down ? job.dst : 0;
SLOTS:
    for (uint32_t s = 0; s < MAX_SLOTS; ++s) {
#pragma HLS PIPELINE II = 1
        for (uint32_t k = 0; k < RECORD_ENTRIES; ++k) {
#pragma HLS UNROLL
            if (s == 0 || s == job.first_slot + k) slots[k] = slot_line;
        }
        slot_line += job.slot_lines;
    }
    load_records(job.records, queues ? job.rows : 0, job.experts, job.top_k, records, expert_memory,
                 gate_memory);

    // Of the expert: its weights and table, and its first position in all queues.
    uint32_t expert_beats = job.weights * (LINE / BEAT);
    uint32_t expert_table = job.table;
    uint32_t source = job.src;
    uint32_t target = down ? 0 : job.dst;
    if (attention) {
        expert_beats = (job.src + small_product(job.k_offset, job.src_stride)) * (LINE / BEAT);
        expert_table = job.src + small_product(job.v_offset, job.src_stride);
    }
// sequential: the queue of an expert is known before the first of its chunks leaves
EXPERTS:
    for (uint8_t e = 0; e < job.experts; ++e) {
        const QueueLength length = match_expert(
            e, static_cast<uint16_t>(queues ? job.rows : 0), up ? job.src : 0,
            up ? job.src_stride : job.out_lines, expert_memory, gate_memory, slots, queue);
        const uint16_t per_chunk = queues && length.rows != 0 ? length.rows : uint16_t(1);
        const uint16_t last_row = static_cast<uint16_t>(per_chunk - 1);
        const uint32_t total = static_cast<uint32_t>(counted<12, 12>(job.layer_chunks, per_chunk));

        PlacedChunk now;
        now.chunk.tiles = queues ? length.tiles : job.tiles;
        now.chunk.rows = queues ? length.last_rows : job.last_rows;
        now.weights = expert_beats;
        now.table = expert_table;
        now.tokens = source;
        now.results = target;
        now.spare = 0;
        uint16_t outputs_left = job.outputs;
        bool first = true;  // chunk of the layer
        uint16_t row = 0;   // of the queue
        uint8_t in_tile = 0;
        Gates tile_gates = Gates();
#pragma HLS ARRAY_PARTITION variable = tile_gates.gate dim = 0 complete
    CHUNKS:
        for (uint32_t i = 0; i < total; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
            if (row == 0) {
                const uint16_t most = first ? first_outputs : most_outputs;
                const uint16_t outputs = outputs_left < most ? outputs_left : most;
                const uint16_t groups = static_cast<uint16_t>((outputs + 3) / 4);
                outputs_left = static_cast<uint16_t>(outputs_left - outputs);
                now.chunk.outputs = outputs;
                now.chunk.pieces = static_cast<uint16_t>(job.k_lines * PIECES);
                now.chunk.subs = static_cast<uint8_t>(!attention           ? 1
                                                      : job.head_dim == 64 ? 1
                                                      : job.head_dim == 32 ? outputs / 32
                                                                           : outputs / 16);
                now.beats = attention
                                ? job.rows * (LINE / BEAT)
                                : static_cast<uint32_t>(counted<9, 9>(groups, steps.row_beats));
                placed.write(now);
                if (attention) {
                    now.weights += uint32_t(job.src_stride) * (LINE / BEAT);
                    now.table += job.src_stride;
                    now.tokens += job.src_stride;
                } else {
                    now.weights += now.beats;
                }
                now.results += first ? steps.first_results : steps.results;
                first = false;
            }
            const bool last = row == last_row;
            if (queues && length.rows != 0) {
                const Queued item = queue[row];
                if (up) sources.write(item.line);
                if (down) {
                    targets.write(item.line);
                    for (uint8_t t = 0; t < 16; ++t) {
#pragma HLS UNROLL
                        if (t >= in_tile) tile_gates.gate[t] = t == in_tile ? item.gate : 0;
                    }
                    if (last || in_tile == T - 1) gates.write(tile_gates);
                }
            }
            in_tile = last || in_tile == T - 1 ? 0 : in_tile + 1;
            row = last ? 0 : row + 1;
        }
        expert_beats += job.expert_lines * (LINE / BEAT);
        expert_table += TABLE_LINES;
        source += static_cast<uint32_t>(counted<12, 7>(length.rows, steps.sources));
        target += static_cast<uint32_t>(counted<12, 8>(length.rows, steps.targets));
    }
}

}  // namespace m3vit

#endif
