// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// UPSAMPLE2X: nine sixteenths of the near pixel, three of its neighbours in row and
// column, one of the diagonal one.
//
//   in   corners    out  upsampled, beats of int8    loop  output pixel x beat
#ifndef M3VIT_UPSAMPLE_H
#define M3VIT_UPSAMPLE_H

#include "neighbours.h"
#include "rounding.h"

namespace m3vit {

inline int32_t corner_byte(const Corners &corners, int corner, int b) {
#pragma HLS INLINE
    return static_cast<int8_t>(byte_at(corners, corner * PORT_BYTES + b));
}

inline void upsample(const MapJob map, Stream<Corners> &corners, Stream<PortBeat> &upsampled) {
    int beat = 0;
UPSAMPLE:
    for (uint32_t i = 0; i < map.corners; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
        const Corners around = corners.read();
        PortBeat result = zeros<PORT_BYTES>();
        for (int b = 0; b < PORT_BYTES; ++b) {
#pragma HLS UNROLL
            const int32_t sum = corner_byte(around, 0, b) * 9 + corner_byte(around, 1, b) * 3 +
                                corner_byte(around, 2, b) * 3 + corner_byte(around, 3, b);
            const int32_t value = (sum + 8) >> 4;
            const bool valid = PORT_BYTES * beat + b < map.channels;
            set_byte(result, b, static_cast<uint8_t>(valid ? value : 0));
        }
        upsampled.write(result);
        beat = beat == map.used_beats - 1 ? 0 : beat + 1;
    }
}

}  // namespace m3vit

#endif
