// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// The program buffer: header, task directory, instructions.
#ifndef M3VIT_PROGRAM_H
#define M3VIT_PROGRAM_H

#include "types.h"

namespace m3vit {

// Places of the words in the header and in an entry of the task directory.
constexpr int HEADER_MAGIC = 0;
constexpr int HEADER_ABI = 1;
constexpr int HEADER_TASKS = 2;
constexpr int HEADER_INSTRUCTIONS = 3;
constexpr int TASK_FIRST = 1;
constexpr int TASK_COUNT = 2;

// The instructions of one task.
struct Task {
    uint32_t first;
    uint32_t count;
};

inline uint32_t word_of(const Beat *program, uint32_t byte) {
    return unsigned32(program[byte / BEAT], static_cast<int>(byte % BEAT));
}

// Find a task; the checks are in the order of docs/numerics.md.
inline Error find_task(const Beat *program, uint32_t program_bytes, uint32_t task, Task &found) {
    if (program_bytes < INSTRUCTIONS_OFFSET) return ERROR_PROGRAM_RANGE;
    if (word_of(program, 4 * HEADER_MAGIC) != PROGRAM_MAGIC) return ERROR_BAD_MAGIC;
    if (word_of(program, 4 * HEADER_ABI) != ABI_VERSION) return ERROR_BAD_ABI;
    const uint32_t tasks = word_of(program, 4 * HEADER_TASKS);
    if (tasks < 1 || tasks > MAX_TASKS || task >= tasks) return ERROR_BAD_TASK;
    const uint32_t instructions = word_of(program, 4 * HEADER_INSTRUCTIONS);
    if (instructions > MAX_INSTRUCTIONS ||
        INSTRUCTIONS_OFFSET + INSTRUCTION_BYTES * instructions > program_bytes) {
        return ERROR_PROGRAM_RANGE;
    }
    const uint32_t entry = HEADER_BYTES + TASK_ENTRY_BYTES * task;
    found.first = word_of(program, entry + 4 * TASK_FIRST);
    found.count = word_of(program, entry + 4 * TASK_COUNT);
    if (found.count == 0 || static_cast<uint64_t>(found.first) + found.count > instructions) {
        return ERROR_PROGRAM_RANGE;
    }
    return ERROR_OK;
}

inline Instruction fetch(const Beat *program, uint32_t pc) {
    uint32_t word[INSTRUCTION_WORDS];
FETCH:
    for (int b = 0; b < static_cast<int>(INSTRUCTION_BYTES) / BEAT; ++b) {
#pragma HLS PIPELINE II = 1
        const Beat beat = program[INSTRUCTIONS_OFFSET / BEAT + pc * (INSTRUCTION_BYTES / BEAT) + b];
    FETCH_WORDS:
        for (int i = 0; i < BEAT / 4; ++i) {
#pragma HLS UNROLL
            word[b * (BEAT / 4) + i] = unsigned32(beat, 4 * i);
        }
    }
    return decode_instruction(word);
}

}  // namespace m3vit

#endif
