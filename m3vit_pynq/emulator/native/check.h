// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
#ifndef M3VIT_FAST_CHECK_H
#define M3VIT_FAST_CHECK_H

#include "api.h"
#include "generated/abi.h"

namespace fast {

using m3vit::Instruction;

// What an instruction is checked against.
struct Limits {
    m3vit_fast_layout layout;
    m3vit_fast_capacity capacity;
    uint64_t frame_bytes, result_bytes;
};

inline uint64_t lines(uint64_t bytes) { return (bytes + 63) / 64; }

// Bytes of a weight row's values: K.
uint64_t matrix_cols(const Instruction &);
// Lines of one layer in each part.
uint64_t layer_lines(uint64_t outputs, uint64_t k);

// Decoded as the hardware does: bits outside the opcode's operands are ignored.
Instruction decode(const uint32_t *words);

// Code with which the accelerator refuses the instruction, or ERROR_OK.
uint32_t check(const Instruction &, const Limits &, const m3vit_fast_pending &);

// The pending slots after an instruction that was executed.
void advance(const Instruction &, m3vit_fast_pending *);

}  // namespace fast

#endif
