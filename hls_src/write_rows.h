// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// Results to the bank: the lines of each chunk in the order of its runs.
#ifndef M3VIT_WRITE_ROWS_H
#define M3VIT_WRITE_ROWS_H

#include "runs.h"

namespace m3vit {

inline void write_rows(uint32_t chunks, Port<PortBeat> bank, Stream<Runs> &counts,
                       Stream<Run> &runs, Stream<Line> &lines) {
    write_lines(chunks, bank, counts, runs, lines);
}

}  // namespace m3vit

#endif
