// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
#ifndef M3VIT_FAST_FOOTPRINT_H
#define M3VIT_FAST_FOOTPRINT_H

#include "check.h"

namespace fast {

enum Access { READS = 1, WRITES = 2, UPDATES = 3 };

// Lines of the workspace that an instruction touches, strided or not.
struct Region {
    Access access;
    uint64_t base, end;

    bool read() const { return access & READS; }
    bool written() const { return access & WRITES; }
};

struct WeightRange {
    uint64_t base, end;
};

// As m3vit_pynq/abi/footprint.py.
struct Footprint {
    Region regions[6];
    WeightRange weights[2];
    int count, weight_count;
    uint64_t frame_bytes, result_bytes;
    uint64_t half_lines, tokens, map_lines;
    uint64_t products;

    void touch(Access access, uint64_t base, uint64_t rows, uint64_t stride, uint64_t width) {
        regions[count++] = {access, base, base + (rows - 1) * stride + width};
    }
    void weigh(uint64_t base, uint64_t size) { weights[weight_count++] = {base, base + size}; }
};

// Of an instruction within the architecture's limits.
Footprint footprint(const Instruction &);

// Lines of one destination row of LINEAR and CONV3X3.
uint64_t output_lines(const Instruction &);

}  // namespace fast

#endif
