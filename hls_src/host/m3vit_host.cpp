// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// The accelerator as a shared library: the top function and a window to what a
// bitstream hides. Included rather than linked, so that memories and counters
// are those of the top function.
#include "../m3vit_accel.cpp"

#include <string.h>

using namespace m3vit;

// Sizes and places of the on-chip memories, in the order of hostlib.py.
extern "C" void m3vit_host_memories(void *address[7]) {
    address[0] = chip::act;
    address[1] = chip::residual;
    address[2] = chip::scores;
    address[3] = &chip::queues.rows;
    address[4] = chip::queues.first;
    address[5] = chip::queues.token;
    address[6] = chip::queues.gate;
}

// Everything as after configuration of the device.
extern "C" void m3vit_host_clear() {
    memset(chip::act, 0, sizeof chip::act);
    memset(chip::residual, 0, sizeof chip::residual);
    memset(chip::scores, 0, sizeof chip::scores);
    memset(&chip::queues, 0, sizeof chip::queues);
}

// Checks and executes one instruction on the memories as they are.
extern "C" uint32_t m3vit_host_step(const uint32_t *words, const Beat *frame, uint32_t frame_bytes,
                                    Beat *output, uint32_t output_bytes, const Beat *weights0,
                                    const Beat *weights1, const Beat *weights2,
                                    const Beat *weights3, uint32_t weights_bytes) {
    const Instruction in = decode_instruction(words);
    const Buffers buffers = {frame_bytes, output_bytes, weights_bytes / BEAT};
    cycles::reset();
    const Error refused = check_instruction(in, buffers, chip::queues);
    if (refused != ERROR_OK) return refused;
    Instruction nothing = in;
    nothing.opcode = OP_END;
    WeightStream stream = {false, false};
    cycles::begin(0, in.opcode);
    execute(in, nothing, stream, frame, frame_bytes, output, weights0, weights1, weights2,
            weights3);
    cycles::end();
    return ERROR_OK;
}

extern "C" const cycles::Record *m3vit_host_records(uint32_t *length) {
    *length = cycles::log().length;
    return cycles::log().entry;
}

extern "C" const cycles::Passage *m3vit_host_passages(uint32_t *length, uint32_t *dropped) {
    *length = cycles::passages().length;
    *dropped = cycles::passages().dropped;
    return cycles::passages().entry;
}

// Both forms of the matrix engine, for the test that they agree.
extern "C" void m3vit_host_matrix_group(const uint8_t *tokens, const int8_t *weights, int lines,
                                        int lanes, int32_t *acc) {
    static TokenTile token_tile;
    static WeightTile weight_tile;
    for (int t = 0; t < TOKENS_PAR; ++t) {
        memcpy(token_tile.line[t], tokens + t * lines * LINE, static_cast<size_t>(lines) * LINE);
    }
    for (int p = 0; p < WEIGHT_PORTS; ++p) {
        memcpy(weight_tile.line[p], weights + p * lines * LINE, static_cast<size_t>(lines) * LINE);
    }
    int32_t sums[TOKENS_PAR][WEIGHT_PORTS];
    if (lanes != 0) {
        matrix_group_lanes(token_tile.line, 0, weight_tile.line, 0, lines, sums);
    } else {
        matrix_group_host(token_tile.line, 0, weight_tile.line, 0, lines, TOKENS_PAR, sums);
    }
    memcpy(acc, sums, sizeof sums);
}
