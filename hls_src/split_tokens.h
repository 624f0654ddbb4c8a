// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// Tiles of tokens for the two half engines.
//
//   in   windows           per chunk, the lines of all valid rows
//   out  lines_a, lines_b  per chunk, tile, token 0 ... T - 1 and piece: the row's
//                          pieces; zeros behind the valid rows. lines_b not in ATTENTION
//
// In ATTENTION every tile comes once for each head of the plane (tile, head, token,
// piece), its bytes outside the head's channels zero. A ring of T lines turns.
#ifndef M3VIT_SPLIT_TOKENS_H
#define M3VIT_SPLIT_TOKENS_H

#include "counts.h"
#include "pieces.h"

namespace m3vit {

// The piece at byte `first` of its line, without the channels of other heads.
inline Piece only_head(const Piece &piece, uint32_t first, uint32_t head, uint32_t head_dim) {
#pragma HLS INLINE
    Piece masked = zeros<IN_PAR>();
    for (int i = 0; i < IN_PAR; ++i) {
#pragma HLS UNROLL
        const uint32_t sixteen = (first + static_cast<uint32_t>(i)) / 16;
        const uint32_t owner = head_dim == 64 ? 0 : head_dim == 32 ? sixteen / 2 : sixteen;
        set_byte(masked, i, owner == head ? byte_at(piece, i) : static_cast<uint8_t>(0));
    }
    return masked;
}

inline void split_tokens(const MatrixJob job, Stream<Chunk> &chunks, Stream<Line> &windows,
                         Stream<Piece> &lines_a, Stream<Piece> &lines_b) {
    const bool attention = job.mode == MODE_ATTENTION;
    const uint8_t row = static_cast<uint8_t>(attention ? 1 : job.k_lines);  // lines
    const uint8_t last_row_line = static_cast<uint8_t>(row - 1);
// sequential: the number of a chunk's tiles comes with it
CHUNKS:
    for (uint32_t c = 0; c < job.chunks; ++c) {
        const Chunk chunk = chunks.read();
        const uint8_t subs = attention ? chunk.subs : uint8_t(1);
        const uint8_t last_sub = static_cast<uint8_t>(subs - 1);
        const uint32_t steps = small_product(chunk.tiles * (T * PIECES), small_product(subs, row));
        const uint16_t last_tile = static_cast<uint16_t>(chunk.tiles - 1);
        Line ring[T];
#pragma HLS ARRAY_PARTITION variable = ring dim = 0 complete
        for (int t = 0; t < T; ++t) {
#pragma HLS UNROLL
            ring[t] = zeros<LINE>();
        }
        Line line = zeros<LINE>();
        uint8_t piece = 0;
        uint8_t l = 0;  // line of the row
        uint8_t token = 0;
        uint8_t head = 0;
        uint16_t tile = 0;
    TOKENS:
        for (uint32_t i = 0; i < steps; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
            const bool valid = tile != last_tile || token < chunk.rows;
            if (piece == 0) {
                line = zeros<LINE>();
                if (head != 0) {
                    line = ring[T - 1];
                } else if (valid) {
                    line = windows.read();
                }
                for (int t = T - 1; t > 0; --t) {
#pragma HLS UNROLL
                    ring[t] = ring[t - 1];
                }
                ring[0] = line;
            }
            const Piece bytes = bottom<LINE, IN_PAR>(line);
            const uint32_t byte = static_cast<uint32_t>(piece) * IN_PAR;
            lines_a.write(attention ? only_head(bytes, byte, head, job.head_dim) : bytes);
            if (!attention) lines_b.write(bytes);
            line = shift_out<LINE, IN_PAR>(line);

            const bool last_piece = piece == PIECES - 1;
            const bool last_line = last_piece && l == last_row_line;
            const bool last_token = last_line && token == T - 1;
            const bool last_head = last_token && head == last_sub;
            piece = last_piece ? 0 : piece + 1;
            if (last_piece) l = last_line ? 0 : l + 1;
            if (last_line) token = last_token ? 0 : token + 1;
            if (last_token) head = last_head ? 0 : head + 1;
            if (last_head) ++tile;
        }
    }
}

}  // namespace m3vit

#endif
