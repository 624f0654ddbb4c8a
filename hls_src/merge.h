// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// Adds the residual stream to the update that a layer makes; other modes pass by.
//
//   in   job; chunks; a Chunk per chunk
//        ordered         Line, as reorder leaves them
//        residual_lines  Line, the same lines as they lie in memory   (RESIDUAL)
//   out  stored          Line, the same order; channels behind the outputs are 0
#ifndef M3VIT_MERGE_H
#define M3VIT_MERGE_H

#include "requantise.h"
#include "shapes.h"

namespace m3vit {

inline void merge(const MatrixJob job, uint32_t chunks, Stream<Chunk> &descriptors,
                  Stream<Line> &ordered, Stream<Line> &residual_lines, Stream<Line> &stored) {
    constexpr int HALVES = LINE / 2;
    const bool is_residual =
        job.mode != MODE_DOWN && job.mode != MODE_ATTENTION && job.store == STORE_RESIDUAL;
// sequential: a chunk's length comes with it
CHUNKS:
    for (uint32_t c = 0; c < chunks; ++c) {
        const Chunk chunk = descriptors.read();
        const int lines = chunk_lines(job, chunk);
        const int tiles = chunk.tiles;
        const int rows = tiles != 0 ? (tiles - 1) * T + chunk.rows : 0;
        const int total = counted<17, 7>(rows, lines);
        const int last_channels = chunk.outputs - (lines - 1) * HALVES;  // of the last line
        const int segments = (lines + SEGMENT - 1) / SEGMENT;
        const int last_segment = segments - 1;
        const int last_size = lines - last_segment * SEGMENT;

        int tile = 0;
        int segment = 0;
        const int last_end = last_size - 1;
        const int last_rows = chunk.rows - 1;
        const int before_last = tiles - 2;
        int end_line = segments == 1 ? last_end : SEGMENT - 1;  // last of the segment
        int end_token = tiles == 1 ? last_rows : T - 1;         // last of the tile
        int token = 0;
        int line = 0;
    LINES:
        for (int i = 0; i < total; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
            const bool is_last_line = segment == last_segment && line == end_line;
            const int channels = is_last_line ? last_channels : HALVES;
            const Line update = ordered.read();
            Line before = zeros<LINE>();
            if (is_residual) before = residual_lines.read();
            Line after = update;
            for (int k = 0; k < HALVES; ++k) {
#pragma HLS UNROLL
                const Int<17> sum = static_cast<int16_t>(half_at(update, k)) +
                                    static_cast<int16_t>(half_at(before, k));
                const int32_t kept = sum > INT16_MAX   ? INT16_MAX
                                     : sum < INT16_MIN ? INT16_MIN
                                                       : static_cast<int32_t>(sum);
                const bool is_padding = is_residual && k >= channels;
                set_half(after, k, is_padding ? uint16_t(0) : static_cast<uint16_t>(kept));
            }
            stored.write(after);

            if (line != end_line) {
                ++line;
            } else {
                line = 0;
                if (token != end_token) {
                    ++token;
                } else {
                    token = 0;
                    const bool is_last_next = segments == 1 || segment + 1 == last_segment;
                    end_line = is_last_next ? last_end : SEGMENT - 1;
                    if (segment != last_segment) {
                        ++segment;
                    } else {
                        segment = 0;
                        end_token = tile == before_last ? last_rows : T - 1;
                        ++tile;
                    }
                }
            }
        }
    }
}

}  // namespace m3vit

#endif
