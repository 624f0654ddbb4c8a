// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// Neighbourhoods of a 3x3 convolution.
//
//   in   lines    per chunk, the lines of all rows
//   out  windows  CONV3X3: per chunk and pixel, the lines of its nine neighbours
//                 (ky, kx ascending), `pad` outside the map; otherwise the lines
//
// A ring holds the lines from the pixel above and left of the one that leaves to two pixels
// behind the one below. With each pixel that leaves another comes in, one line in nine.
#ifndef M3VIT_WINDOW_H
#define M3VIT_WINDOW_H

#include "counts.h"
#include "pieces.h"
#include "shapes.h"

namespace m3vit {

constexpr int MOST_PIXEL_LINES = static_cast<int>(MAX_K) / LINE / 9;
// Two map rows, of at most MAP_LINES together, and four pixels.
constexpr int RING_LINES = power_of_two(MAP_LINES + 4 * MOST_PIXEL_LINES);
constexpr uint16_t RING_MASK = RING_LINES - 1;

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
    const uint8_t pixel = static_cast<uint8_t>(job.row_lines);
    const uint8_t last_pixel_line = static_cast<uint8_t>(pixel - 1);
    const uint16_t row = static_cast<uint16_t>(conv ? counted<14, 3>(job.width, job.row_lines) : 0);
    const uint16_t last_y = static_cast<uint16_t>(job.height - 1);
    const uint16_t last_x_of_row = static_cast<uint16_t>(job.width - 1);
    const uint32_t map =  // lines
        conv ? static_cast<uint32_t>(counted<17, 3>(job.rows, job.row_lines)) : 0u;
    const uint32_t neighbours = 8 * map + map;
    const uint32_t wanted = row + 2u * pixel;
    const uint32_t first = map < wanted ? map : wanted;
    const Line outside = filled(job.pad);
// sequential: rows that pass through, or lines ahead of the first pixel, then pixels
CHUNKS:
    for (uint32_t c = 0; c < job.chunks; ++c) {
        const Chunk chunk = chunks.read();
        const uint32_t passing =
            conv ? 0u : static_cast<uint32_t>(counted<17, 7>(chunk_rows(chunk), job.row_lines));
        Line ring[RING_LINES];
#ifdef M3VIT_URAM
#pragma HLS BIND_STORAGE variable = ring type = ram_s2p impl = uram
#else
#pragma HLS BIND_STORAGE variable = ring type = ram_s2p impl = bram
#endif
    PASS:
        for (uint32_t i = 0; i < passing; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
            windows.write(lines.read());
        }
        uint16_t put = 0;
    AHEAD:
        for (uint32_t i = 0; i < first; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
            ring[put] = lines.read();
            put = static_cast<uint16_t>((put + 1) & RING_MASK);
        }
        uint32_t left = map - first;  // lines that are still to come
        uint8_t l = 0;                // line of the pixel
        uint8_t kx = 0;               // neighbour
        uint8_t ky = 0;
        uint16_t x = 0;  // pixel
        uint16_t y = 0;
        uint16_t centre = 0;  // its first line in the ring
    PIXELS:
        for (uint32_t i = 0; i < neighbours; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
#pragma HLS DEPENDENCE variable = ring type = inter dependent = false
            // A line is written 17 iterations or more before it is read, and the line in its
            // place was read 9 or more before.
            if (ky == 0 && kx == 0 && left != 0) {
                ring[put] = lines.read();
                put = static_cast<uint16_t>((put + 1) & RING_MASK);
                --left;
            }
            const bool above = ky == 0 && y == 0;
            const bool below = ky == 2 && y == last_y;
            const bool before = kx == 0 && x == 0;
            const bool behind = kx == 2 && x == last_x_of_row;
            const bool inside = !(above || below || before || behind);
            const uint16_t over = static_cast<uint16_t>(ky == 0   ? centre - row
                                                        : ky == 2 ? centre + row
                                                                  : centre);
            const uint16_t beside = static_cast<uint16_t>(kx == 0   ? l - pixel
                                                          : kx == 2 ? l + pixel
                                                                    : l);
            const uint16_t get = static_cast<uint16_t>((over + beside) & RING_MASK);
            const Line line = ring[get];
            windows.write(inside ? line : outside);

            const bool last_line = l == last_pixel_line;
            const bool last_kx = last_line && kx == 2;
            const bool last_ky = last_kx && ky == 2;
            const bool last_x = last_ky && x == last_x_of_row;
            l = last_line ? 0 : l + 1;
            if (last_line) kx = kx == 2 ? 0 : kx + 1;
            if (last_kx) ky = ky == 2 ? 0 : ky + 1;
            if (last_ky) {
                x = last_x ? 0 : x + 1;
                centre = static_cast<uint16_t>((centre + pixel) & RING_MASK);
            }
            if (last_x) ++y;
        }
    }
}

}  // namespace m3vit

#endif
