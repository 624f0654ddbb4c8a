// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// Reads the rows of a tensor through one port: requests of a group of runs, then the beats
// of the group before. In the row pass once for every port that is read.
#ifndef M3VIT_READ_ROWS_H
#define M3VIT_READ_ROWS_H

#include "rows.h"

namespace m3vit {

inline void read_rows(const Rows rows, Port<PortBeat> port, Stream<PortBeat> &beats) {
    RunWalk walk = walk_of(rows);
    uint32_t before = 0;  // beats of the group before
    const uint32_t end = rows.runs == 0 ? 0 : rows.runs + rows.group;
    // sequential: a port takes the requests of a group, then gives the beats of the last one
READ_GROUPS:
    for (uint32_t done = 0; done < end; done += rows.group) {
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
        for (uint32_t b = 0; b < before; ++b) {
#pragma HLS PIPELINE II = 1 style = flp
            beats.write(port.read());
        }
        before = wanted;
    }
}

}  // namespace m3vit

#endif
