// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// The loop over a task's instructions.
#include "engine.h"

#include <time.h>

#include <chrono>

#include "footprint.h"

namespace fast {

using namespace m3vit;

namespace {

constexpr size_t MAX_BANKS = 4;
constexpr size_t SPARE_BYTES = size_t{64} << 20;

using Clock = std::chrono::steady_clock;

uint64_t thread_time() {
    timespec t{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return static_cast<uint64_t>(t.tv_sec) * 1000000000u + static_cast<uint64_t>(t.tv_nsec);
}

uint32_t word(const uint8_t *at) {
    uint32_t value;
    std::memcpy(&value, at, 4);
    return value;
}

bool valid(const m3vit_fast_layout &where, uint64_t program_lines, uint64_t bank_bytes) {
    const uint64_t all =
        where.weights_line | where.part_lines | where.workspace_line | where.workspace_lines;
    return all >> 32 == 0 && program_lines <= where.weights_line &&
           where.weights_line + WEIGHT_PARTS * where.part_lines <= where.workspace_line &&
           64 * (where.workspace_line + where.workspace_lines) <= bank_bytes;
}

bool meet(const uint8_t *a, uint64_t a_bytes, const uint8_t *b, uint64_t b_bytes) {
    const uintptr_t first = reinterpret_cast<uintptr_t>(a), second = reinterpret_cast<uintptr_t>(b);
    return first < second + b_bytes && second < first + a_bytes;
}

// Whether the result buffer lies in the bank, as a hostile driver may arrange it.
bool aliased(const m3vit_fast_memory &m) {
    return meet(m.bank, m.bank_bytes, m.result, m.result_bytes);
}

}  // namespace

Engine::Engine(int threads, const Path &path)
    : path_(path), pool_(threads), scratch_(static_cast<size_t>(pool_.threads())) {}

BankWeights &Engine::weights_of(const m3vit_fast_memory &memory) {
    Bank &bank = banks_[memory.bank];
    if (!bank.weights) bank.weights = std::make_unique<BankWeights>(path_);
    bank.used = ++uses_;
    bank.bytes = memory.bank_bytes;
    if (banks_.size() > MAX_BANKS) {
        auto oldest = banks_.begin();
        for (auto i = banks_.begin(); i != banks_.end(); ++i)
            if (i->second.used < oldest->second.used) oldest = i;
        banks_.erase(oldest);
    }
    bank.weights->next_generation();
    return *bank.weights;
}

void Engine::forget(const uint8_t *memory, uint64_t bytes) {
    for (auto i = banks_.begin(); i != banks_.end();)
        if (!memory || meet(i->first, i->second.bytes, memory, bytes))
            i = banks_.erase(i);
        else
            ++i;
}

uint32_t Engine::execute(const Instruction &i, BankWeights &weights,
                         const m3vit_fast_memory &memory, const m3vit_fast_layout &where) {
    Context c{path_, pool_, scratch_, rows_, extra_, weights, packs_, where, memory, 0};
    weights.trim(2 * 64 * WEIGHT_PARTS * where.part_lines + SPARE_BYTES);
    const auto begin = Clock::now();
    const uint64_t thread_begin = thread_time();
    switch (i.opcode) {
    case OP_LOAD_PATCHES: load_patches(c, i); break;
    case OP_LOAD_RESIDUAL: load_residual(c, i); break;
    case OP_LAYERNORM: layernorm(c, i); break;
    case OP_LINEAR: linear(c, i); break;
    case OP_ATTENTION: attention(c, i); break;
    case OP_GATE: gate(c, i); break;
    case OP_EXPERTS_UP: experts_up(c, i); break;
    case OP_EXPERTS_DOWN: experts_down(c, i); break;
    case OP_CONV3X3: conv3x3(c, i); break;
    case OP_UPSAMPLE2X: upsample2x(c, i); break;
    case OP_OUTPUT_CLASSES: output_classes(c, i); break;
    case OP_OUTPUT_DEPTH: output_depth(c, i); break;
    default: return 0;
    }
    const auto spent = std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - begin);
    profile.nanoseconds[i.opcode] += static_cast<uint64_t>(spent.count());
    profile.calling_thread[i.opcode] += thread_time() - thread_begin;
    profile.executions[i.opcode] += 1;
    profile.products[i.opcode] += footprint(i).products;
    profile.packing = packs_.nanoseconds;
    profile.panels = packs_.panels;
    const bool writes_result = i.opcode == OP_OUTPUT_CLASSES || i.opcode == OP_OUTPUT_DEPTH;
    if (writes_result && aliased(memory)) forget(memory.bank, memory.bank_bytes);
    return c.experts_used;
}

uint32_t Engine::start(const m3vit_fast_run_args &a, m3vit_fast_layout *where, uint32_t *first,
                       uint32_t *count) const {
    if (a.command != COMMAND_IDENTIFY && a.command != COMMAND_RUN) return ERROR_BAD_COMMAND;
    if (a.command == COMMAND_IDENTIFY) return ERROR_OK;
    if (a.misalignment & 63) return ERROR_ALIGNMENT;
    const uint8_t *bank = a.memory.bank;
    const uint64_t bytes = a.memory.bank_bytes;
    if (bytes < INSTRUCTIONS_OFFSET) return ERROR_PROGRAM_RANGE;
    if (word(bank) != PROGRAM_MAGIC) return ERROR_BAD_MAGIC;
    if (word(bank + 4) != ABI_VERSION) return ERROR_BAD_ABI;
    const uint64_t tasks = word(bank + 8), instructions = word(bank + 12);
    if (tasks < 1 || tasks > MAX_TASKS || a.task >= tasks) return ERROR_BAD_TASK;
    const uint64_t program = INSTRUCTIONS_OFFSET + INSTRUCTION_BYTES * instructions;
    if (instructions > MAX_INSTRUCTIONS || program > bytes) return ERROR_PROGRAM_RANGE;
    *where = {word(bank + 16), word(bank + 20), word(bank + 24), word(bank + 28)};
    if (!valid(*where, lines(program), bytes)) return ERROR_BANK_LAYOUT;
    const uint8_t *entry = bank + HEADER_BYTES + TASK_ENTRY_BYTES * a.task;
    *first = word(entry + 4);
    *count = word(entry + 8);
    if (*count == 0 || uint64_t{*first} + *count > instructions) return ERROR_PROGRAM_RANGE;
    return ERROR_OK;
}

uint32_t Engine::run(m3vit_fast_run_args &a) {
    m3vit_fast_layout where{};
    uint32_t first = 0, count = 0;
    a.pc = 0;
    experts_used.clear();
    const uint32_t refused = start(a, &where, &first, &count);
    if (refused != ERROR_OK || a.command == COMMAND_IDENTIFY) return refused;
    const Limits limits{where, a.capacity, a.memory.frame_bytes, a.memory.result_bytes};
    m3vit_fast_pending pending{};
    for (a.pc = first; a.pc < first + count; ++a.pc) {
        uint32_t words[INSTRUCTION_WORDS];
        std::memcpy(words, a.memory.bank + INSTRUCTIONS_OFFSET + INSTRUCTION_BYTES * uint64_t{a.pc},
                    sizeof words);
        const Instruction i = decode(words);
        const uint32_t code = check(i, limits, pending);
        if (code != ERROR_OK) return code;
        if (i.opcode == OP_END) {
            a.pc = 0;
            return ERROR_OK;
        }
        // A new generation at the start, and whenever a result may have met weights.
        BankWeights *weights = a.pc == first || aliased(a.memory)
                                   ? &weights_of(a.memory)
                                   : banks_[a.memory.bank].weights.get();
        const uint32_t used = execute(i, *weights, a.memory, where);
        if (i.opcode == OP_EXPERTS_UP) experts_used.push_back({a.pc, used});
        advance(i, &pending);
    }
    return ERROR_PROGRAM_RANGE;
}

uint32_t Engine::step(const uint32_t *words, const m3vit_fast_memory &memory,
                      const m3vit_fast_layout &where, const m3vit_fast_capacity &capacity,
                      m3vit_fast_pending &pending) {
    if (!valid(where, 0, memory.bank_bytes)) return ERROR_BANK_LAYOUT;
    const Instruction i = decode(words);
    const uint32_t code =
        check(i, {where, capacity, memory.frame_bytes, memory.result_bytes}, pending);
    if (code != ERROR_OK) return code;
    if (i.opcode != OP_END) execute(i, weights_of(memory), memory, where);
    advance(i, &pending);
    return ERROR_OK;
}

}  // namespace fast
