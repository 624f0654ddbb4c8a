// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// Where a pixel of an enlarged map lies between the pixels of the map, and the sum of
// its four neighbours by these weights, for OUTPUT_CLASSES and OUTPUT_DEPTH.
#ifndef M3VIT_ENLARGE_H
#define M3VIT_ENLARGE_H

#include "neighbours.h"

namespace m3vit {

// Position in the enlarged map, counted up beat by beat.
struct Position {
    int beat;
    int b;  // column of the near pixel's outputs
    int x;
    int a;  // row of them
};

inline Position next_position(const Position &now, const MapJob &map) {
#pragma HLS INLINE
    const bool pixel_ends = now.beat == map.used_beats - 1;
    const bool column_ends = pixel_ends && now.b == map.factor - 1;
    const bool row_ends = column_ends && now.x == map.width - 1;
    Position next = now;
    next.beat = pixel_ends ? 0 : now.beat + 1;
    if (pixel_ends) next.b = column_ends ? 0 : now.b + 1;
    if (column_ends) next.x = row_ends ? 0 : now.x + 1;
    if (row_ends) next.a = now.a == map.factor - 1 ? 0 : now.a + 1;
    return next;
}

// Weight of the far one of two; the near one's is 2 * factor less that.
inline int far_weight(int position, int factor) {
#pragma HLS INLINE
    const int offset = 2 * position + 1 - factor;
    return offset < 0 ? -offset : offset;
}

// near * (2 * factor - weight) + far * weight, weight in 0, 1, 3: no multiplier.
inline int32_t blend(int32_t near, int32_t far, int weight, int factor) {
#pragma HLS INLINE
    const int32_t step = far - near;
    const int32_t whole = factor == 1 ? near * 2 : factor == 2 ? near * 4 : near * 8;
    return whole + ((weight & 1) != 0 ? step : 0) + ((weight & 2) != 0 ? step * 2 : 0);
}

// Of values at (y, x), (y, x'), (y', x), (y', x').
inline int32_t blend_corners(int32_t here, int32_t side, int32_t below, int32_t across,
                             const Position &at, int factor) {
#pragma HLS INLINE
    const int rows = far_weight(at.a, factor);
    const int columns = far_weight(at.b, factor);
    return blend(blend(here, below, rows, factor), blend(side, across, rows, factor), columns,
                 factor);
}

}  // namespace m3vit

#endif
