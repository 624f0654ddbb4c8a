// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// Weights as the dot products want them, kept from run to run.
#ifndef M3VIT_FAST_PACKED_H
#define M3VIT_FAST_PACKED_H

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <tuple>
#include <vector>

#include "api.h"
#include "memory.h"
#include "path.h"

namespace fast {

// A layer as it lies in a bank.
struct LayerPlace {
    uint64_t line, part_lines;
    uint32_t outputs, k;
    bool gated;  // shifts are those of EXPERTS_DOWN's fine result

    bool operator<(const LayerPlace &o) const {
        return std::tie(line, part_lines, outputs, k, gated) <
               std::tie(o.line, o.part_lines, o.outputs, o.k, o.gated);
    }
};

// 64 output channels of a layer, the last ones perhaps fewer.
struct Panel {
    int8_t *weights;
    PanelParams *params;
    int32_t cols;  // channels padded to 16
    bool packed = false;
    uint64_t checksum = 0;
    uint64_t checked = 0;  // the generation in which it was last known to be right
};

struct Layer {
    LayerPlace place;
    int32_t k;  // of a packed row: K padded to the path's unit
    std::vector<Panel> panels;
    Block storage;
};

// Counters for the profile.
struct PackCount {
    std::atomic<uint64_t> panels{0}, nanoseconds{0};
};

// Packed layers of one bank.
class BankWeights {
public:
    explicit BankWeights(const Path &path) : path_(path) {}

    // Allocates; its panels are not packed yet. The layer lives until the next `trim`.
    Layer &layer(const LayerPlace &);
    // Makes a panel right: packs it if it is not, or (verify) if the bank changed.
    // Threads may do this for different panels at the same time.
    void prepare(Layer &, size_t panel, const uint8_t *bank, bool verify, PackCount *);
    // Before an instruction: drops everything if more than `bytes` are packed.
    void trim(size_t bytes);
    // From here on nothing counts as verified.
    void next_generation() { ++generation_; }

private:
    const Path &path_;
    std::map<LayerPlace, std::unique_ptr<Layer>> layers_;
    size_t bytes_ = 0;
    uint64_t generation_ = 1;
};

}  // namespace fast

#endif
