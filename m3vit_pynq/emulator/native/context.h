// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// What the instructions work with. Each function executes one instruction that
// `check` has accepted; none fails but for lack of memory, and then before it
// has written anything.
#ifndef M3VIT_FAST_CONTEXT_H
#define M3VIT_FAST_CONTEXT_H

#include <vector>

#include "check.h"
#include "memory.h"
#include "packed.h"
#include "path.h"
#include "pool.h"

namespace fast {

// Of one thread.
struct Scratch {
    alignas(64) int32_t acc[2][MAX_TILE * PANEL] = {};
    Block block;
};

struct Context {
    const Path &path;
    Pool &pool;
    std::vector<Scratch> &scratch;  // one for each thread
    Block &rows;                    // packed rows
    Block &extra;
    BankWeights &weights;
    PackCount &packs;
    m3vit_fast_layout layout;
    m3vit_fast_memory memory;
    uint32_t experts_used;  // out: experts that had tokens

    uint8_t *line(uint64_t index) const { return memory.bank + 64 * index; }
    const int8_t *table(uint64_t index) const {
        return reinterpret_cast<const int8_t *>(line(index));
    }
};

// For as long as a thread takes dot products.
class Multiplying {
public:
    explicit Multiplying(const Path &path) : path_(path) {
        if (path_.begin) path_.begin();
    }
    ~Multiplying() {
        if (path_.end) path_.end();
    }
    Multiplying(const Multiplying &) = delete;
    Multiplying &operator=(const Multiplying &) = delete;

private:
    const Path &path_;
};

inline size_t up(size_t n, size_t unit) { return (n + unit - 1) / unit * unit; }

void load_patches(Context &, const Instruction &);
void load_residual(Context &, const Instruction &);
void layernorm(Context &, const Instruction &);
void linear(Context &, const Instruction &);
void attention(Context &, const Instruction &);
void gate(Context &, const Instruction &);
void experts_up(Context &, const Instruction &);
void experts_down(Context &, const Instruction &);
void conv3x3(Context &, const Instruction &);
void upsample2x(Context &, const Instruction &);
void output_classes(Context &, const Instruction &);
void output_depth(Context &, const Instruction &);

}  // namespace fast

#endif
