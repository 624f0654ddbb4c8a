// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// OUTPUT_CLASSES: the channel with the largest interpolated value, ties to the lower.
//
//   in   corners    out  class ids    loop  output pixel x beat
#ifndef M3VIT_CLASSES_H
#define M3VIT_CLASSES_H

#include "enlarge.h"
#include "rounding.h"

namespace m3vit {

// Channel `c` of a corner's beat: one of PORT_BYTES of int8, or of half as many of int16.
inline int32_t corner_channel(const Corners &corners, int corner, int c, bool wide) {
#pragma HLS INLINE
    const int32_t narrow = static_cast<int8_t>(byte_at(corners, corner * PORT_BYTES + c));
    const int half = corner * LANES + (c < LANES ? c : 0);
    const int32_t broad = static_cast<int16_t>(half_at(corners, half));
    return wide ? broad : narrow;
}

struct Candidate {
    int32_t value;
    int32_t channel;
};

// The largest of the beat's channels by a tree, the lower channel first.
inline Candidate largest_of(const Corners &corners, const Position &at, const MapJob &map) {
#pragma HLS INLINE
    constexpr int32_t NOTHING = -(1 << 30);
    Candidate tree[PORT_BYTES];
#pragma HLS ARRAY_PARTITION variable = tree complete
    const bool wide = map.wide != 0;
    const int width = wide ? LANES : PORT_BYTES;
    for (int c = 0; c < PORT_BYTES; ++c) {
#pragma HLS UNROLL
        const int32_t value =
            blend_corners(corner_channel(corners, 0, c, wide), corner_channel(corners, 1, c, wide),
                          corner_channel(corners, 2, c, wide), corner_channel(corners, 3, c, wide),
                          at, map.factor);
        const int channel = (wide ? at.beat * LANES : at.beat * PORT_BYTES) + c;
        const bool valid = c < width && channel < map.channels;
        tree[c].value = valid ? value : NOTHING;
        tree[c].channel = channel;
    }
    for (int level = PORT_BYTES / 2; level >= 1; level /= 2) {
#pragma HLS UNROLL
        for (int c = 0; c < level; ++c) {
#pragma HLS UNROLL
            const Candidate a = tree[2 * c];
            const Candidate b = tree[2 * c + 1];
            tree[c].value = b.value > a.value ? b.value : a.value;
            tree[c].channel = b.value > a.value ? b.channel : a.channel;
        }
    }
    return tree[0];
}

inline void classes(const MapJob map, Stream<Corners> &corners, Stream<uint8_t> &ids) {
    Position at = {0, 0, 0, 0};
    int32_t best = 0;
    int32_t id = 0;
CLASSES:
    for (uint32_t i = 0; i < map.corners; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
        const Candidate found = largest_of(corners.read(), at, map);
        if (at.beat == 0 || found.value > best) {
            best = found.value;
            id = found.channel;
        }
        if (at.beat == map.used_beats - 1) ids.write(static_cast<uint8_t>(id));
        at = next_position(at, map);
    }
}

}  // namespace m3vit

#endif
