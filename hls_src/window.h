// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// Neighbourhoods of a 3x3 convolution.
//
//   in   lines    per chunk, the lines of all rows
//   out  windows  CONV3X3: per chunk and pixel, the lines of its nine neighbours
//                 (ky, kx ascending), `pad` outside the map; otherwise the lines
//
// A ring holds four map rows. While the pixels of row y leave, row y + 2 comes in, one
// line in nine, into the place of row y - 2.
#ifndef M3VIT_WINDOW_H
#define M3VIT_WINDOW_H

#include "counts.h"
#include "pieces.h"

namespace m3vit {

constexpr int RING_ROWS = 4;
constexpr int RING_LINES = MAP_LINES / 2;  // of one map row

inline Line filled(int8_t value) {
#pragma HLS INLINE
    Line line = zeros<LINE>();
    for (int i = 0; i < LINE; ++i) {
#pragma HLS UNROLL
        set_byte(line, i, static_cast<uint8_t>(value));
    }
    return line;
}

inline void window(const MatrixJob job, Stream<Chunk> &chunks, Stream<Line> &lines,
                   Stream<Line> &windows) {
    const bool conv = job.mode == MODE_CONV;
    const uint32_t row = conv ? small_product(job.width, job.row_lines) : 0;  // lines
    const uint16_t last_column = static_cast<uint16_t>(row - 1);
    const uint16_t last_y = static_cast<uint16_t>(job.height - 1);
    const uint16_t last_x_of_row = static_cast<uint16_t>(job.width - 1);
    const uint8_t pixel = static_cast<uint8_t>(job.row_lines);
    const uint8_t last_pixel_line = static_cast<uint8_t>(pixel - 1);
    const uint32_t first = job.height > 1 ? 2 * row : row;
    const uint32_t neighbours = conv ? small_product(job.rows, job.k_lines) : 0;
    const Line outside = filled(job.pad);
// sequential: rows that pass through, or map rows ahead of the first pixel, then pixels
CHUNKS:
    for (uint32_t c = 0; c < job.chunks; ++c) {
        const Chunk chunk = chunks.read();
        const uint32_t passing = conv ? 0 : small_product(chunk_rows(chunk), job.row_lines);
        Line ring[RING_ROWS * RING_LINES];
#pragma HLS BIND_STORAGE variable = ring type = ram_s2p impl = bram
    PASS:
        for (uint32_t i = 0; i < passing; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
            windows.write(lines.read());
        }
        uint16_t column = 0;
        uint16_t base = 0;
    AHEAD:
        for (uint32_t i = 0; i < first; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
            ring[base + column] = lines.read();
            if (column == last_column) base = RING_LINES;
            column = column == last_column ? 0 : column + 1;
        }
        uint8_t l = 0;   // line of the pixel
        int8_t kx = -1;  // neighbour
        int8_t ky = -1;
        uint16_t x = 0;  // pixel
        uint16_t y = 0;
        uint16_t centre = 0;           // first line of the pixel in its map row
        bool is_low = job.height < 3;  // no row y + 2
    PIXELS:
        for (uint32_t i = 0; i < neighbours; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
#pragma HLS DEPENDENCE variable = ring type = inter dependent = false
            // A line of row y + 2 is written 16 iterations or more before it is read, and the
            // line in its place was read 7 or more before.
            if (ky == -1 && kx == -1 && !is_low) {
                const uint8_t place = static_cast<uint8_t>((y + 2) & (RING_ROWS - 1));
                ring[place * RING_LINES + centre + l] = lines.read();
            }
            const bool above = ky == -1 && y == 0;
            const bool below = ky == 1 && y == last_y;
            const bool left = kx == -1 && x == 0;
            const bool right = kx == 1 && x == last_x_of_row;
            const bool inside = !(above || below || left || right);
            const uint8_t neighbour_row = static_cast<uint8_t>((y + ky) & (RING_ROWS - 1));
            const uint8_t shift = kx == 0 ? uint8_t(0) : pixel;
            const uint16_t beside = static_cast<uint16_t>(kx < 0 ? centre - shift : centre + shift);
            const uint16_t at =
                static_cast<uint16_t>(inside ? neighbour_row * RING_LINES + beside + l : 0);
            const Line line = ring[at];
            windows.write(inside ? line : outside);

            const bool last_line = l == last_pixel_line;
            const bool last_kx = last_line && kx == 1;
            const bool last_ky = last_kx && ky == 1;
            const bool last_x = last_ky && x == last_x_of_row;
            l = last_line ? 0 : l + 1;
            if (last_line) kx = kx == 1 ? -1 : kx + 1;
            if (last_kx) ky = ky == 1 ? -1 : ky + 1;
            if (last_ky) {
                x = last_x ? 0 : x + 1;
                centre = last_x ? 0 : centre + pixel;
            }
            if (last_x) {
                is_low = y + 3 >= job.height;
                ++y;
            }
        }
    }
}

}  // namespace m3vit

#endif
