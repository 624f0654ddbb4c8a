// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// The weight readers: one for each part of the weight image, on a port of its own.
//
//   in   runs    per chunk one run of the part's rows; in front of it, in part 0, one of
//                the GELU table. ATTENTION: the plane of keys in part 0, of values in
//                part 2. A run has no beats where there is nothing to read
//   out  beats   of all runs
#ifndef M3VIT_READ_WEIGHTS_H
#define M3VIT_READ_WEIGHTS_H

#include "runs.h"

namespace m3vit {

// `runs` of each chunk: 2 in part 0, 1 in the others.
template <int RUNS>
inline void read_weights(uint32_t chunks, Port<PortBeat> bank, Stream<Run> &runs,
                         Stream<PortBeat> &beats) {
    read_beats(RUNS * chunks, bank, runs, beats);
}

}  // namespace m3vit

#endif
