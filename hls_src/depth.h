// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// OUTPUT_DEPTH: interpolated logarithm to millimetres.
//
//   in   corners    out  millimetres    loop  output pixel
#ifndef M3VIT_DEPTH_H
#define M3VIT_DEPTH_H

#include "enlarge.h"
#include "rounding.h"

namespace m3vit {

// log2 of millimetres with 11 fractional bits to millimetres.
inline uint16_t millimetres(int32_t logarithm) {
#pragma HLS INLINE
    const int32_t v = clamp_to(logarithm, 0, 32767);
    const int f = (v >> 3) & 255;
    const int rest = v & 7;
    const int32_t low = static_cast<int32_t>(POW_TABLE[f]);
    const int32_t step = static_cast<int32_t>(POW_TABLE[f + 1]) - low;
    const int32_t part = ((rest & 1) != 0 ? step : 0) + ((rest & 2) != 0 ? step * 2 : 0) +
                         ((rest & 4) != 0 ? step * 4 : 0);  // step * rest
    const int32_t power = low + ((part + 4) >> 3);
    return static_cast<uint16_t>(clamp_to(rshift(power, 15 - (v >> 11)), 0, 65535));
}

inline void depth(const MapJob map, Stream<Corners> &corners, Stream<uint16_t> &distances) {
#pragma HLS BIND_STORAGE variable = POW_TABLE type = rom_np impl = lutram
    const int area_bits = map.factor == 1 ? 2 : map.factor == 2 ? 4 : 6;  // of (2 * factor)^2
    Position at = {0, 0, 0, 0};
DEPTH:
    for (uint32_t i = 0; i < map.corners; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
        const Corners around = corners.read();
        const int32_t here = static_cast<int16_t>(half_at(around, 0));
        const int32_t side = static_cast<int16_t>(half_at(around, LANES));
        const int32_t below = static_cast<int16_t>(half_at(around, 2 * LANES));
        const int32_t across = static_cast<int16_t>(half_at(around, 3 * LANES));
        const int32_t sum = blend_corners(here, side, below, across, at, map.factor);
        distances.write(millimetres(static_cast<int32_t>(rshift(sum, area_bits))));
        at = next_position(at, map);
    }
}

}  // namespace m3vit

#endif
