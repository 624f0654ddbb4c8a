// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
#ifndef M3VIT_FAST_ENGINE_H
#define M3VIT_FAST_ENGINE_H

#include <map>
#include <memory>

#include "context.h"

namespace fast {

// Executes programs; one call at a time.
class Engine {
public:
    Engine(int threads, const Path &path);

    uint32_t run(m3vit_fast_run_args &);
    uint32_t step(const uint32_t *words, const m3vit_fast_memory &, const m3vit_fast_layout &,
                  const m3vit_fast_capacity &, m3vit_fast_pending &);
    // Of every bank that the memory touches; of all if it is null.
    void forget(const uint8_t *memory, uint64_t bytes);
    void clear_profile() {
        profile = {};
        packs_.nanoseconds = packs_.panels = 0;
    }

    m3vit_fast_profile profile{};
    // Index of every EXPERTS_UP of the last run, and how many experts had tokens.
    std::vector<std::pair<uint32_t, uint32_t>> experts_used;

private:
    // Packed weights of one bank; those of the bank that was used longest ago are dropped.
    struct Bank {
        std::unique_ptr<BankWeights> weights;
        uint64_t used, bytes;
    };

    BankWeights &weights_of(const m3vit_fast_memory &);
    // Returns the experts that had tokens.
    uint32_t execute(const Instruction &, BankWeights &, const m3vit_fast_memory &,
                     const m3vit_fast_layout &);
    uint32_t start(const m3vit_fast_run_args &, m3vit_fast_layout *, uint32_t *first,
                   uint32_t *count) const;

    const Path &path_;
    Pool pool_;
    std::vector<Scratch> scratch_;
    Block rows_, extra_;
    PackCount packs_;
    std::map<const uint8_t *, Bank> banks_;
    uint64_t uses_ = 0;
};

}  // namespace fast

#endif
