// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// UPSAMPLE2X and OUTPUT_*: for every pixel of the enlarged map, and every beat of it,
// the same beat of the near pixel and of its three neighbours, clamped at the edges.
//
//   in     pixels    the map, row by row
//   out    corners   to the process that the mode names
//   loop   output row: beat of the row of the map that it needs next, if any; then output
//          column x beat
//   memory the two rows around an output row, even and odd rows in a memory each
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

inline void neighbours(const MapJob map, Stream<PortBeat> &pixels, Stream<Corners> &to_upsample,
                       Stream<Corners> &to_classes, Stream<Corners> &to_depth) {
    PortBeat even[MAP_BEATS];
    PortBeat odd[MAP_BEATS];
#pragma HLS BIND_STORAGE variable = even type = ram_t2p impl = bram
#pragma HLS BIND_STORAGE variable = odd type = ram_t2p impl = bram
    const int low = (map.factor + 1) >> 1;  // outputs in front of a pixel's centre
    int y = 0;                              // near row
    int a = 0;                              // output row of it
    int loaded = 0;                         // rows of the map
// sequential: a row is read only when it is complete, or its memories would need a third port
OUTPUT_ROWS:
    for (uint32_t r = 0; r < map.out_rows; ++r) {
        const bool front = a < low;
        const int wanted = (front ? y : y + 1) + 1;  // rows, for this output row
        const bool missing = loaded < wanted && loaded < map.height;
        const uint32_t arriving = missing ? map.load_steps : 0;
        const bool odd_arrives = (loaded & 1) != 0;
    LOAD_ROW:
        for (uint32_t i = 0; i < arriving; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
            const PortBeat pixel = pixels.read();
            if (odd_arrives) {
                odd[i] = pixel;
            } else {
                even[i] = pixel;
            }
        }
        if (missing) ++loaded;
        const bool edge = front ? y == 0 : y == map.height - 1;
        const bool near_odd = (y & 1) != 0;
        const bool far_odd = near_odd != !edge;
        int x = 0;      // near column
        int b = 0;      // output column of it
        int beat = 0;   // of the pixel
        int place = 0;  // of the near pixel
    GIVE_ROW:
        for (uint32_t i = 0; i < map.give_steps; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
            const bool left = b < low;
            const bool clamped = left ? x == 0 : x == map.width - 1;
            const int distance = left ? -map.pixel_beats : map.pixel_beats;
            const int near_at = place + beat;
            const int side_at = clamped ? near_at : near_at + distance;
            const PortBeat even_near = even[near_at];
            const PortBeat even_side = even[side_at];
            const PortBeat odd_near = odd[near_at];
            const PortBeat odd_side = odd[side_at];
            const Corners corners =
                corners_of(near_odd ? odd_near : even_near, near_odd ? odd_side : even_side,
                           far_odd ? odd_near : even_near, far_odd ? odd_side : even_side);
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
        const bool pixel_row_ends = a == map.factor - 1;
        a = pixel_row_ends ? 0 : a + 1;
        if (pixel_row_ends) ++y;
    }
}

}  // namespace m3vit

#endif
