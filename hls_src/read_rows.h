// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// Reads the rows of a tensor through one port: requests of a group of runs, then their
// beats. In the row pass once for every port that is read.
#ifndef M3VIT_READ_ROWS_H
#define M3VIT_READ_ROWS_H

#include "rows.h"

namespace m3vit {

inline void read_rows(const Rows rows, Port<PortBeat> port, Stream<PortBeat> &beats) {
    RunWalk walk = walk_of(rows);
    // sequential: a port takes the requests of a group, then gives their beats
READ_GROUPS:
    for (uint32_t done = 0; done < rows.runs; done += rows.group) {
        uint32_t wanted = 0;
    READ_REQUESTS:
        for (int i = 0; i < rows.group; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
            if (walk.left != 0) {
                const uint32_t count = beats_of_run(rows, walk);
                port.read_request(static_cast<uint64_t>(walk.line) * LINE_BEATS, count);
                wanted += count;
                walk = next_run(rows, walk);
            }
        }
    READ_BEATS:
        for (uint32_t b = 0; b < wanted; ++b) {
#pragma HLS PIPELINE II = 1 style = flp
            beats.write(port.read());
        }
    }
}

}  // namespace m3vit

#endif
