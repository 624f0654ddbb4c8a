// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// Writes the rows of one tensor, or of two in turn, through one port: requests of a
// group of runs, their beats, the responses of the group before. `collect` delivers the beats
// in this order.
#ifndef M3VIT_WRITE_TENSORS_H
#define M3VIT_WRITE_TENSORS_H

#include "rows.h"

namespace m3vit {

inline void write_tensors(const Rows first, const Rows second, Stream<PortBeat> &beats,
                          Port<PortBeat> port) {
    RunWalk ahead = walk_of(first);
    RunWalk behind = walk_of(second);
    bool turn = false;
    uint32_t before = 0;  // runs of the group before, their responses have not been taken
    const uint32_t runs = first.runs + second.runs;  // equal, or one of them 0
    // sequential: a port takes the requests of a group, its beats, and answers
WRITE_GROUPS:
    for (uint32_t done = 0; done < runs;) {
        const bool other = second.runs != 0 && (first.runs == 0 || turn);
        const uint32_t group = other ? second.group : first.group;
        const uint32_t left = other ? behind.left : ahead.left;
        const uint32_t count = left < group ? left : group;
        uint32_t offered = 0;
    WRITE_REQUESTS:
        for (uint32_t i = 0; i < count; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
            const Rows rows = other ? second : first;
            const RunWalk walk = other ? behind : ahead;
            const uint32_t length = beats_of_run(rows, walk);
            port.write_request(static_cast<uint64_t>(walk.line) * LINE_BEATS, length);
            offered += length;
            if (other) {
                behind = next_run(rows, walk);
            } else {
                ahead = next_run(rows, walk);
            }
        }
    WRITE_BEATS:
        for (uint32_t b = 0; b < offered; ++b) {
#pragma HLS PIPELINE II = 1 style = flp
            port.write(beats.read());
        }
    WRITE_RESPONSES:
        for (uint32_t i = 0; i < before; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
            port.write_response();
        }
        before = count;
        done += count;
        turn = !turn;
    }
LAST_RESPONSES:
    for (uint32_t i = 0; i < before; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
        port.write_response();
    }
}

}  // namespace m3vit

#endif
