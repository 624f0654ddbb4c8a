// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// The program at the start of a bank: header in line 0, task directory in lines 1 to 4,
// then one instruction a line.
#ifndef M3VIT_PROGRAM_H
#define M3VIT_PROGRAM_H

#include "layout.h"
#include "words.h"

namespace m3vit {

constexpr uint32_t DIRECTORY_LINE = HEADER_BYTES / LINE;
constexpr uint32_t INSTRUCTIONS_LINE = INSTRUCTIONS_OFFSET / LINE;
constexpr uint32_t ENTRY_WORDS = TASK_ENTRY_BYTES / 4;
constexpr uint32_t LINE_ENTRIES = LINE / TASK_ENTRY_BYTES;
constexpr uint32_t BEAT_WORDS = PORT_BYTES / 4;

static_assert(INSTRUCTION_BYTES == LINE, "an instruction is a line");

struct LineWords {
    uint32_t word[INSTRUCTION_WORDS];
};

// Which instructions a task runs, and the sections that they may use.
struct Task {
    uint32_t first;
    uint32_t count;
    Layout layout;
};

inline LineWords read_line(Port<PortBeat> port, uint32_t line) {
#pragma HLS INLINE off
    LineWords words;
#pragma HLS ARRAY_PARTITION variable = words.word complete
    port.read_request(static_cast<uint64_t>(line) * LINE_BEATS, LINE_BEATS);
BEATS:
    for (int b = 0; b < LINE_BEATS; ++b) {
#pragma HLS PIPELINE II = 1 style = flp
        const PortBeat beat = port.read();
        for (int i = 0; i < static_cast<int>(INSTRUCTION_WORDS - BEAT_WORDS); ++i) {
#pragma HLS UNROLL
            words.word[i] = words.word[i + BEAT_WORDS];
        }
        for (int i = 0; i < static_cast<int>(BEAT_WORDS); ++i) {
#pragma HLS UNROLL
            words.word[INSTRUCTION_WORDS - BEAT_WORDS + i] = word_at(beat, i);
        }
    }
    return words;
}

inline Instruction fetch(Port<PortBeat> port, uint32_t pc) {
    const LineWords words = read_line(port, INSTRUCTIONS_LINE + pc);
    return decode_instruction(words.word);
}

inline bool layout_allowed(const Layout &layout, uint32_t instructions, uint32_t bank_bytes) {
    const uint64_t program = INSTRUCTIONS_LINE + instructions;
    const uint64_t weights_end =
        layout.weights_line + (static_cast<uint64_t>(layout.part_lines) * WEIGHT_PARTS);
    const uint64_t bank_end = static_cast<uint64_t>(layout.workspace_line) + layout.workspace_lines;
    return program <= layout.weights_line && weights_end <= layout.workspace_line &&
           bank_end * LINE <= bank_bytes;
}

// The checks before the first instruction.
inline Error find_task(Port<PortBeat> port, uint32_t bank_bytes, uint32_t number, Task &task) {
    if (bank_bytes < INSTRUCTIONS_OFFSET) return ERROR_PROGRAM_RANGE;
    const LineWords header = read_line(port, 0);
    const uint32_t tasks = header.word[2];
    const uint32_t instructions = header.word[3];
    task.layout.weights_line = header.word[4];
    task.layout.part_lines = header.word[5];
    task.layout.workspace_line = header.word[6];
    task.layout.workspace_lines = header.word[7];
    if (header.word[0] != PROGRAM_MAGIC) return ERROR_BAD_MAGIC;
    if (header.word[1] != ABI_VERSION) return ERROR_BAD_ABI;
    if (tasks < 1 || tasks > MAX_TASKS || number >= tasks) return ERROR_BAD_TASK;
    if (instructions > MAX_INSTRUCTIONS ||
        INSTRUCTIONS_OFFSET + INSTRUCTION_BYTES * instructions > bank_bytes) {
        return ERROR_PROGRAM_RANGE;
    }
    if (!layout_allowed(task.layout, instructions, bank_bytes)) return ERROR_BANK_LAYOUT;
    const LineWords directory = read_line(port, DIRECTORY_LINE + number / LINE_ENTRIES);
    const uint32_t entry = ENTRY_WORDS * (number % LINE_ENTRIES);
    task.first = directory.word[entry + 1];
    task.count = directory.word[entry + 2];
    const uint64_t end = static_cast<uint64_t>(task.first) + task.count;
    return task.count == 0 || end > instructions ? ERROR_PROGRAM_RANGE : ERROR_OK;
}

}  // namespace m3vit

#endif
