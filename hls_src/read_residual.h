// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// Rows of the residual stream, in the order in which write_rows writes them: an element
// is read once, and its write follows from that read. Runs come in only if the store is
// RESIDUAL.
#ifndef M3VIT_READ_RESIDUAL_H
#define M3VIT_READ_RESIDUAL_H

#include "runs.h"

namespace m3vit {

inline void read_residual(uint32_t chunks, Port<PortBeat> bank, Stream<Runs> &counts,
                          Stream<Run> &runs, Stream<Line> &lines) {
    read_lines(chunks, bank, counts, runs, lines);
}

}  // namespace m3vit

#endif
