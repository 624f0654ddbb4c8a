// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// What the engine does with one chunk of weights: where tokens come from and
// where results go. LINEAR, CONV3X3 and both layers of an expert are layers.
#ifndef M3VIT_LAYER_H
#define M3VIT_LAYER_H

#include "memories.h"
#include "types.h"

namespace m3vit {

// How a row of tokens is found in activation memory.
enum Source {
    SOURCE_ROWS,   // row r
    SOURCE_QUEUE,  // the row of the r-th token in an expert's queue
    SOURCE_MAP,    // the 3x3 neighbourhood of pixel r
};

// What happens to an accumulator; the first four are those of the ISA.
enum Sink {
    SINK_ACT8 = STORE_ACT8,
    SINK_ACT16 = STORE_ACT16,
    SINK_RESIDUAL = STORE_RESIDUAL,
    SINK_SCORES = STORE_SCORES,
    SINK_GATED,  // weighted by the gate and added to the queued token's residual row
};

struct Layer {
    Source source;
    Sink sink;
    uint32_t activation;
    uint32_t rows;
    uint32_t channels;  // input channels of a row, of a pixel for SOURCE_MAP
    uint32_t src;
    uint32_t src_stride;
    uint32_t dst;
    uint32_t dst_stride;
    uint32_t outputs;
    uint32_t queue;   // first queue entry, for SOURCE_QUEUE and SINK_GATED
    uint32_t height;  // SOURCE_MAP
    uint32_t width;
    int8_t pad;
};

}  // namespace m3vit

#endif
