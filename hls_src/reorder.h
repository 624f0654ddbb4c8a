// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// Lines from the order in which outputs are made to the order in which rows lie in memory;
// rows behind the valid ones of the last tile are left out.
//
//   in   job; chunks; a Chunk per chunk
//        finished   Line: tile, line, token 0 ... T - 1
//   out  ordered    Line: tile, segment of at most SEGMENT lines, valid token, line of the
//                   segment; planar destinations: tile, line, valid token
//
// A double buffer of T x SEGMENT lines. One flat loop of rounds: a segment arrives while the
// one before it leaves.
#ifndef M3VIT_REORDER_H
#define M3VIT_REORDER_H

#include "shapes.h"

namespace m3vit {

inline void reorder(const MatrixJob job, uint32_t chunks, Stream<Chunk> &descriptors,
                    Stream<Line> &finished, Stream<Line> &ordered) {
    const int most = job.planar ? 1 : SEGMENT;
    Line buffer[2 * T * SEGMENT];
#ifdef M3VIT_BLOCKS
#pragma HLS BIND_STORAGE variable = buffer type = ram_s2p impl = lutram
#else
#pragma HLS BIND_STORAGE variable = buffer type = ram_s2p impl = bram
#endif
// sequential: a chunk's length comes with it
CHUNKS:
    for (uint32_t c = 0; c < chunks; ++c) {
        const Chunk chunk = descriptors.read();
        const int lines = chunk_lines(job, chunk);
        const int tiles = chunk.tiles;
        const int longest = lines < most ? lines : most;
        const int segments = job.planar ? lines : (lines + SEGMENT - 1) / SEGMENT;
        const int last_segment = segments - 1;
        const int last_size = job.planar ? 1 : lines - last_segment * SEGMENT;
        const int span = T * longest + SETTLE;
        const int rounds = counted<UNIT_BITS, 7>(chunk.tiles, segments) + 1;
        const int total = tiles != 0 ? counted<22, 8>(rounds, span) : 0;

        int step = 0;
        int tile = 0;
        bool is_odd = false;
        int segment = 0;  // that arrives
        int size = longest;
        int to_token = 0;
        int to_line = 0;
        int out_size = 0;  // the segment that leaves
        int out_rows = 0;
        int out_token = 0;
        int out_line = 0;
    LINES:
        for (int i = 0; i < total; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
#pragma HLS DEPENDENCE variable = buffer type = inter dependent = false
            const bool is_loading = tile < tiles && to_line < size;
            const bool is_leaving = out_token < out_rows;
            const int put = ((is_odd ? T : 0) + to_token) * SEGMENT + to_line;
            const int get = ((is_odd ? 0 : T) + out_token) * SEGMENT + out_line;
            const Line leaving = buffer[get];
            if (is_leaving) ordered.write(leaving);
            if (is_loading) buffer[put] = finished.read();

            if (is_loading) {
                if (to_token + 1 < T) {
                    ++to_token;
                } else {
                    to_token = 0;
                    ++to_line;
                }
            }
            if (is_leaving) {
                if (out_line + 1 < out_size) {
                    ++out_line;
                } else {
                    out_line = 0;
                    if (out_token + 1 < out_rows) {
                        ++out_token;
                    } else {
                        out_token = 0;
                        out_rows = 0;
                    }
                }
            }
            if (step + 1 < span) {
                ++step;
            } else {
                step = 0;
                is_odd = !is_odd;
                out_size = size;
                out_rows = tile + 1 < tiles ? T : tile < tiles ? chunk.rows : uint8_t(0);
                out_token = 0;
                out_line = 0;
                to_token = 0;
                to_line = 0;
                const bool is_last = segment == last_segment;
                const bool is_last_next = segments == 1 || segment + 1 == last_segment;
                size = is_last_next ? last_size : longest;
                if (is_last) {
                    segment = 0;
                    ++tile;
                } else {
                    ++segment;
                }
            }
        }
    }
}

}  // namespace m3vit

#endif
