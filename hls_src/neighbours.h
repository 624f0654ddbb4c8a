// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// UPSAMPLE2X and OUTPUT_*: for every pixel of the enlarged map, and every beat of it,
// the same beat of the near pixel and of its three neighbours, clamped at the edges.
//
//   in     pixels    the map, row by row
//   out    corners   to the process that the mode names
//   loop   output row: what is missing of the rows that it needs; then output column x beat, and
//          beside it a beat of the map's next row
//   memory a ring of three rows: the two around an output row, and the next
#ifndef M3VIT_NEIGHBOURS_H
#define M3VIT_NEIGHBOURS_H

#include "beat_words.h"
#include "row_job.h"

namespace m3vit {

constexpr int MAP_BEATS = MAP_LINES * LINE_BEATS;

// Beats of (y, x), (y, x'), (y', x) and (y', x').
using Corners = Bytes<4 * PORT_BYTES>;

inline Corners corners_of(const PortBeat &here, const PortBeat &side, const PortBeat &below,
                          const PortBeat &across) {
#pragma HLS INLINE
    Corners corners = zeros<4 * PORT_BYTES>();
    for (int b = 0; b < PORT_BYTES; ++b) {
#pragma HLS UNROLL
        set_byte(corners, b, byte_at(here, b));
        set_byte(corners, PORT_BYTES + b, byte_at(side, b));
        set_byte(corners, 2 * PORT_BYTES + b, byte_at(below, b));
        set_byte(corners, 3 * PORT_BYTES + b, byte_at(across, b));
    }
    return corners;
}

// Of three memories in a ring, the next and the one before.
inline int after(int memory) {
#pragma HLS INLINE
    return memory == 2 ? 0 : memory + 1;
}
inline int before(int memory) {
#pragma HLS INLINE
    return memory == 0 ? 2 : memory - 1;
}

// What an output row takes.
struct OutputRow {
    uint32_t filled;    // beats of the next row that are there
    uint32_t arriving;  // and that come now
    uint8_t low;        // outputs in front of a pixel's centre
    bool near_second;   // the near row is in the second memory
    bool far_second;
};

// The rows are read in two memories, and the next one written in a third, so that two ports
// suffice.
inline void give_row(const MapJob map, const OutputRow row, const PortBeat first[MAP_BEATS],
                     const PortBeat second[MAP_BEATS], PortBeat next[MAP_BEATS],
                     Stream<PortBeat> &pixels, Stream<Corners> &to_upsample,
                     Stream<Corners> &to_classes, Stream<Corners> &to_depth) {
#pragma HLS INLINE off
    int x = 0;      // near column
    int b = 0;      // output column of it
    int beat = 0;   // of the pixel
    int place = 0;  // of the near pixel
GIVE_ROW:
    for (uint32_t i = 0; i < map.give_steps; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
        if (i < row.arriving) next[row.filled + i] = pixels.read();
        const bool left = b < row.low;
        const bool clamped = left ? x == 0 : x == map.width - 1;
        const int distance = left ? -map.pixel_beats : map.pixel_beats;
        const int near_at = place + beat;
        const int side_at = clamped ? near_at : near_at + distance;
        const PortBeat first_near = first[near_at];
        const PortBeat first_side = first[side_at];
        const PortBeat second_near = second[near_at];
        const PortBeat second_side = second[side_at];
        const Corners corners = corners_of(
            row.near_second ? second_near : first_near, row.near_second ? second_side : first_side,
            row.far_second ? second_near : first_near, row.far_second ? second_side : first_side);
        if (map.mode == ROW_UPSAMPLE) {
            to_upsample.write(corners);
        } else if (map.mode == ROW_CLASSES) {
            to_classes.write(corners);
        } else {
            to_depth.write(corners);
        }
        const bool pixel_ends = beat == map.used_beats - 1;
        const bool column_ends = pixel_ends && b == map.factor - 1;
        beat = pixel_ends ? 0 : beat + 1;
        if (pixel_ends) b = column_ends ? 0 : b + 1;
        if (column_ends) {
            ++x;
            place += map.pixel_beats;
        }
    }
}

inline void neighbours(const MapJob map, Stream<PortBeat> &pixels, Stream<Corners> &to_upsample,
                       Stream<Corners> &to_classes, Stream<Corners> &to_depth) {
#pragma HLS ALLOCATION function instances = give_row limit = 1
    PortBeat row0[MAP_BEATS];
    PortBeat row1[MAP_BEATS];
    PortBeat row2[MAP_BEATS];
#ifdef M3VIT_URAM
#pragma HLS BIND_STORAGE variable = row0 type = ram_t2p impl = uram
#pragma HLS BIND_STORAGE variable = row1 type = ram_t2p impl = uram
#pragma HLS BIND_STORAGE variable = row2 type = ram_t2p impl = uram
#else
#pragma HLS BIND_STORAGE variable = row0 type = ram_t2p impl = bram
#pragma HLS BIND_STORAGE variable = row1 type = ram_t2p impl = bram
#pragma HLS BIND_STORAGE variable = row2 type = ram_t2p impl = bram
#endif
    const int low = (map.factor + 1) >> 1;
    int y = 0;            // near row of the map
    int near = 0;         // its memory
    int a = 0;            // output row of it
    int loaded = 0;       // complete rows
    int to = 0;           // memory of the row behind them
    uint32_t filled = 0;  // beats of it that are there
// sequential: an output row starts when the rows that it needs are complete
OUTPUT_ROWS:
    for (uint32_t r = 0; r < map.out_rows; ++r) {
        const bool front = a < low;
        const int wanted = (front ? y : y + 1) + 1;  // rows, for this output row
        const bool missing = loaded < wanted && loaded < map.height;
        const uint32_t absent = missing ? map.load_steps - filled : 0;
    LOAD_ROW:
        for (uint32_t i = 0; i < absent; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
            const PortBeat pixel = pixels.read();
            if (to == 0) {
                row0[filled + i] = pixel;
            } else if (to == 1) {
                row1[filled + i] = pixel;
            } else {
                row2[filled + i] = pixel;
            }
        }
        if (missing) {
            ++loaded;
            to = after(to);
            filled = 0;
        }
        const bool edge = front ? y == 0 : y == map.height - 1;
        const int far = edge ? near : front ? before(near) : after(near);
        // The row behind those, as far as there is time.
        const bool early = loaded <= wanted && loaded < map.height;
        const uint32_t left = early ? map.load_steps - filled : 0;
        OutputRow row;
        row.filled = filled;
        row.arriving = left < map.give_steps ? left : map.give_steps;
        row.low = static_cast<uint8_t>(low);
        const int other = far == after(near) ? before(near) : after(near);
        const int third = early ? to : other;
        row.near_second = near == before(third);
        row.far_second = far == before(third);
        if (third == 0) {
            give_row(map, row, row1, row2, row0, pixels, to_upsample, to_classes, to_depth);
        } else if (third == 1) {
            give_row(map, row, row2, row0, row1, pixels, to_upsample, to_classes, to_depth);
        } else {
            give_row(map, row, row0, row1, row2, pixels, to_upsample, to_classes, to_depth);
        }
        filled += row.arriving;
        if (early && row.arriving == left) {
            ++loaded;
            to = after(to);
            filled = 0;
        }
        const bool pixel_row_ends = a == map.factor - 1;
        a = pixel_row_ends ? 0 : a + 1;
        if (pixel_row_ends) {
            ++y;
            near = after(near);
        }
    }
}

}  // namespace m3vit

#endif
