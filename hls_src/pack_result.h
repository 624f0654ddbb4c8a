// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// OUTPUT_*: pixels to the beats of the result image, the last line padded with zeros.
//
//   in   ids or distances    out  image, beats    loop  pixel of whole lines
#ifndef M3VIT_PACK_RESULT_H
#define M3VIT_PACK_RESULT_H

#include "beat_words.h"
#include "row_job.h"

namespace m3vit {

inline void pack_result(const ResultJob result, Stream<uint8_t> &ids, Stream<uint16_t> &distances,
                        Stream<PortBeat> &image) {
    const bool two_bytes = result.two_bytes != 0;
    const int last = two_bytes ? PORT_BYTES / 2 - 1 : PORT_BYTES - 1;
    PortBeat beat = zeros<PORT_BYTES>();
    int place = 0;
PACK:
    for (uint32_t i = 0; i < result.steps; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
        Bytes<1> one = zeros<1>();
        Bytes<2> two = zeros<2>();
        if (i < result.pixels) {
            if (two_bytes) {
                set_half(two, 0, distances.read());
            } else {
                set_byte(one, 0, ids.read());
            }
        }
        const PortBeat narrow = shifted_in<PORT_BYTES, 1>(beat, one);
        const PortBeat wide = shifted_in<PORT_BYTES, 2>(beat, two);
        beat = two_bytes ? wide : narrow;
        if (place == last) image.write(beat);
        place = place == last ? 0 : place + 1;
    }
}

}  // namespace m3vit

#endif
