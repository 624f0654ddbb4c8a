// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// m3vit_accel: runs the program of one task on one frame.
//
//   program.h        find the task, fetch instructions
//   check.h          refuse what does not fit
//   load_frame.h     LOAD_PATCHES, LOAD_RESIDUAL
//   layernorm.h      LAYERNORM
//   layers.h         LINEAR, CONV3X3, EXPERTS: weight_stream.h, gather.h,
//                    matrix_engine.h, store.h
//   attention.h      ATTENTION, on the same engine; softmax.h
//   gate.h           GATE
//   upsample.h       UPSAMPLE2X
//   outputs.h        OUTPUT_CLASSES, OUTPUT_DEPTH
//   memories.h       the forms of on-chip memory; chip.h: the memories
//   cycles.h         the cycle model
#include "m3vit_accel.h"

#include "attention.h"
#include "check.h"
#include "chip.h"
#include "gate.h"
#include "layernorm.h"
#include "layers.h"
#include "load_frame.h"
#include "outputs.h"
#include "program.h"
#include "upsample.h"

namespace m3vit {

// Whether the first weights of the next instruction may arrive during this one:
// it leaves the weights in the tiles and the ports alone and does not decide
// what is read next.
inline bool may_prefetch(const Instruction &in) {
    return in.opcode == OP_LAYERNORM || in.opcode == OP_ATTENTION || in.opcode == OP_UPSAMPLE2X ||
           in.opcode == OP_LOAD_PATCHES;
}

inline void prefetch(const Instruction &next, WeightStream &stream, const Beat *weights0,
                     const Beat *weights1, const Beat *weights2, const Beat *weights3) {
    const Chunk chunk = first_chunk(next, chip::queues);
    if (!chunk.valid || stream.primed) return;
    if (stream.pong) {
        load_chunk(weights0, weights1, weights2, weights3, chunk, chip::weights_pong, PONG);
    } else {
        load_chunk(weights0, weights1, weights2, weights3, chunk, chip::weights_ping, PING);
    }
    stream.primed = true;
}

inline void execute(const Instruction &in, const Instruction &next, WeightStream &stream,
                    const Beat *frame, uint32_t frame_bytes, Beat *output, const Beat *weights0,
                    const Beat *weights1, const Beat *weights2, const Beat *weights3) {
    switch (in.opcode) {
    case OP_LINEAR:
    case OP_CONV3X3:
    case OP_EXPERTS: run_layers(in, next, stream, weights0, weights1, weights2, weights3); return;
    case OP_GATE: run_gate(in, chip::scores, chip::queues); return;
    case OP_LOAD_RESIDUAL: run_load_residual(in, weights0, chip::residual); return;
    case OP_OUTPUT_CLASSES:
    case OP_OUTPUT_DEPTH: run_outputs(in, chip::act, output); return;
    default: break;
    }
    if (in.opcode == OP_LAYERNORM) load_norm_table(in, weights0, chip::norm_table);
    cycles::Fork fork;
    if (may_prefetch(in)) prefetch(next, stream, weights0, weights1, weights2, weights3);
    fork.branch();
    switch (in.opcode) {
    case OP_LOAD_PATCHES: run_load_patches(in, frame, frame_bytes, chip::act); break;
    case OP_LAYERNORM: run_layernorm(in, chip::norm_table, chip::residual, chip::act); break;
    case OP_ATTENTION: run_attention(in); break;
    case OP_UPSAMPLE2X: run_upsample(in, chip::act); break;
    default: break;
    }
    fork.branch();
    fork.join();
}

// Runs a task to its END. `pc` is the instruction that was refused, if any.
inline Error run_task(const Task &task, const Buffers &buffers, const Beat *frame, Beat *output,
                      const Beat *program, const Beat *weights0, const Beat *weights1,
                      const Beat *weights2, const Beat *weights3, uint32_t &pc) {
    const uint32_t end = task.first + task.count;
    WeightStream stream = {false, false};
    chip::queues.rows = 0;
    Instruction in = fetch(program, task.first);
PROGRAM:
    for (uint32_t step = 0; step < MAX_INSTRUCTIONS; ++step) {
        pc = task.first + step;
        if (pc >= end) return ERROR_PROGRAM_RANGE;
        const Error refused = check_instruction(in, buffers, chip::queues);
        if (refused != ERROR_OK) return refused;
        if (in.opcode == OP_END) break;
        Instruction next = fetch(program, pc + 1 < end ? pc + 1 : pc);
        Instruction ahead = next;
        if (pc + 1 >= end || check_instruction(next, buffers, chip::queues) != ERROR_OK) {
            ahead.opcode = OP_END;
        }
        cycles::begin(pc, in.opcode);
        execute(in, ahead, stream, frame, buffers.frame_bytes, output, weights0, weights1, weights2,
                weights3);
        cycles::end();
        in = next;
    }
    pc = 0;
    return ERROR_OK;
}

}  // namespace m3vit

void m3vit_accel(uint32_t command, uint32_t task, const m3vit::Beat *frame, m3vit::Beat *output,
                 const m3vit::Beat *program, const m3vit::Beat *weights0,
                 const m3vit::Beat *weights1, const m3vit::Beat *weights2,
                 const m3vit::Beat *weights3, uint32_t frame_bytes, uint32_t output_bytes,
                 uint32_t program_bytes, uint32_t weights_bytes, uint32_t *magic,
                 uint32_t *abi_version, uint32_t *config, uint32_t *act_lines,
                 uint32_t *residual_elements, uint32_t *weight_tile_beats, uint32_t *queue_entries,
                 uint32_t *score_elements, uint32_t *error, uint32_t *error_pc,
                 uint32_t *cycles_low, uint32_t *cycles_high) {
#pragma HLS INTERFACE m_axi port = frame offset = slave bundle = frame max_read_burst_length = 64
#pragma HLS INTERFACE m_axi port = output offset = slave bundle = output max_write_burst_length = 64
#pragma HLS INTERFACE m_axi port = program offset = slave bundle = frame max_read_burst_length = 64
#pragma HLS INTERFACE m_axi port = weights0 offset = slave bundle = \
    weights0 max_read_burst_length = 64 num_read_outstanding = 8
#pragma HLS INTERFACE m_axi port = weights1 offset = slave bundle = \
    weights1 max_read_burst_length = 64 num_read_outstanding = 8
#pragma HLS INTERFACE m_axi port = weights2 offset = slave bundle = \
    weights2 max_read_burst_length = 64 num_read_outstanding = 8
#pragma HLS INTERFACE m_axi port = weights3 offset = slave bundle = \
    weights3 max_read_burst_length = 64 num_read_outstanding = 8
#pragma HLS INTERFACE s_axilite port = command
#pragma HLS INTERFACE s_axilite port = task
#pragma HLS INTERFACE s_axilite port = frame
#pragma HLS INTERFACE s_axilite port = output
#pragma HLS INTERFACE s_axilite port = program
#pragma HLS INTERFACE s_axilite port = weights0
#pragma HLS INTERFACE s_axilite port = weights1
#pragma HLS INTERFACE s_axilite port = weights2
#pragma HLS INTERFACE s_axilite port = weights3
#pragma HLS INTERFACE s_axilite port = frame_bytes
#pragma HLS INTERFACE s_axilite port = output_bytes
#pragma HLS INTERFACE s_axilite port = program_bytes
#pragma HLS INTERFACE s_axilite port = weights_bytes
#pragma HLS INTERFACE s_axilite port = magic
#pragma HLS INTERFACE s_axilite port = abi_version
#pragma HLS INTERFACE s_axilite port = config
#pragma HLS INTERFACE s_axilite port = act_lines
#pragma HLS INTERFACE s_axilite port = residual_elements
#pragma HLS INTERFACE s_axilite port = weight_tile_beats
#pragma HLS INTERFACE s_axilite port = queue_entries
#pragma HLS INTERFACE s_axilite port = score_elements
#pragma HLS INTERFACE s_axilite port = error
#pragma HLS INTERFACE s_axilite port = error_pc
#pragma HLS INTERFACE s_axilite port = cycles_low
#pragma HLS INTERFACE s_axilite port = cycles_high
#pragma HLS INTERFACE s_axilite port = return
// One engine. Activation lines whole, residual and scores by lanes.
#pragma HLS ALLOCATION function instances = matrix_tile limit = 1
#pragma HLS ARRAY_RESHAPE variable = chip::act complete dim = 2
#pragma HLS ARRAY_RESHAPE variable = chip::residual cyclic factor = LANES
#pragma HLS ARRAY_RESHAPE variable = chip::scores cyclic factor = WEIGHT_PORTS
// Weights: a line of every port per cycle; tokens: a line of each of a tile.
#pragma HLS ARRAY_PARTITION variable = chip::weights_ping.line complete dim = 1
#pragma HLS ARRAY_PARTITION variable = chip::weights_pong.line complete dim = 1
#pragma HLS ARRAY_RESHAPE variable = chip::weights_ping.line complete dim = 3
#pragma HLS ARRAY_RESHAPE variable = chip::weights_pong.line complete dim = 3
#pragma HLS ARRAY_PARTITION variable = chip::tokens_ping.line complete dim = 1
#pragma HLS ARRAY_PARTITION variable = chip::tokens_pong.line complete dim = 1
#pragma HLS ARRAY_RESHAPE variable = chip::tokens_ping.line complete dim = 3
#pragma HLS ARRAY_RESHAPE variable = chip::tokens_pong.line complete dim = 3
#pragma HLS ARRAY_PARTITION variable = chip::results_ping.column complete dim = 1
#pragma HLS ARRAY_PARTITION variable = chip::results_pong.column complete dim = 1
#pragma HLS ARRAY_RESHAPE variable = chip::results_ping.column cyclic factor = LANES dim = 2
#pragma HLS ARRAY_RESHAPE variable = chip::results_pong.column cyclic factor = LANES dim = 2
#ifdef M3VIT_URAM
#pragma HLS BIND_STORAGE variable = chip::act type = ram_t2p impl = uram
#pragma HLS BIND_STORAGE variable = chip::residual type = ram_t2p impl = uram
#endif
    using namespace m3vit;
    *magic = MAGIC;
    *abi_version = ABI_VERSION;
    *config = TOKENS_PAR | OUT_PAR << 8 | IN_PAR << 16;
    *act_lines = ACT_LINES;
    *residual_elements = RESIDUAL_ELEMENTS;
    *weight_tile_beats = WEIGHT_TILE_BEATS;
    *queue_entries = QUEUE_ENTRIES;
    *score_elements = SCORE_ELEMENTS;

    Error result = ERROR_OK;
    uint32_t pc = 0;
    cycles::reset();
    if (command == COMMAND_RUN) {
        Task found = {0, 0};
        result = find_task(program, program_bytes, task, found);
        if (result == ERROR_OK) {
            const Buffers buffers = {frame_bytes, output_bytes, weights_bytes / BEAT};
            result = run_task(found, buffers, frame, output, program, weights0, weights1, weights2,
                              weights3, pc);
        }
    } else if (command != COMMAND_IDENTIFY) {
        result = ERROR_BAD_COMMAND;
    }
    *error = result;
    *error_pc = pc;
    *cycles_low = static_cast<uint32_t>(cycles::elapsed());
    *cycles_high = static_cast<uint32_t>(cycles::elapsed() >> 32);
}
