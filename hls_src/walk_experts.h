// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// Queues of experts, from the records of GATE: data in writable memory, whoever wrote
// them. Only the first entry of a token that names an expert counts, an expert out of
// range is none, and slots are computed here: of a matching entry it is the number of
// the token's entries with a smaller expert.
//
//   load_records   record lines of the bank -> experts and gates of each token
//   match_expert   -> the queue of one expert, in the order of tokens
//
// Memories: TOKEN_LIMIT words of 8 bytes (experts, one byte an entry), of 16 bytes
// (gates) and of 8 bytes (queue). They are written in one loop and read in another.
#ifndef M3VIT_WALK_EXPERTS_H
#define M3VIT_WALK_EXPERTS_H

#include "descriptors.h"
#include "pieces.h"

namespace m3vit {

constexpr int RECORD_ENTRIES = static_cast<int>(MAX_TOP_K);
constexpr uint8_t NO_EXPERT = 255;

// A token in the queue of an expert.
struct Queued {
    uint32_t line;  // MODE_UP: its source row, MODE_DOWN: its slot's row
    uint16_t gate;
    uint16_t spare;
};

// How long a queue is, in rows, and in tiles with the rows of the last.
struct QueueLength {
    uint16_t rows;
    uint16_t tiles;
    uint8_t last_rows;
};

static_assert(RECORD_ENTRY * RECORD_ENTRIES == LINE, "a record is a line");
static_assert(MAX_EXPERTS < NO_EXPERT, "an expert is a byte");

inline void load_records(uint32_t records, uint32_t rows, uint32_t experts, uint32_t top_k,
                         Port<PortBeat> bank, Bytes<RECORD_ENTRIES> expert_memory[TOKEN_LIMIT],
                         Bytes<2 * RECORD_ENTRIES> gate_memory[TOKEN_LIMIT]) {
    constexpr int BEAT_ENTRIES = PORT_BYTES / static_cast<int>(RECORD_ENTRY);
    const uint32_t beats = rows * LINE_BEATS;
    if (beats != 0) bank.read_request(records * LINE_BEATS, beats);
    Bytes<RECORD_ENTRIES> token_experts = zeros<RECORD_ENTRIES>();
    Bytes<2 * RECORD_ENTRIES> token_gates = zeros<2 * RECORD_ENTRIES>();
    uint16_t row = 0;
    uint8_t at = 0;  // beat of the record
RECORDS:
    for (uint32_t i = 0; i < beats; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
        const PortBeat beat = bank.read();
        for (int j = 0; j < BEAT_ENTRIES; ++j) {
#pragma HLS UNROLL
            const uint16_t expert = half_at(beat, 4 * j);
            const uint32_t entry = static_cast<uint32_t>(at * BEAT_ENTRIES + j);
            const bool valid = entry < top_k && expert < experts;
            Bytes<1> name = zeros<1>();
            set_byte(name, 0, valid ? static_cast<uint8_t>(expert) : NO_EXPERT);
            Bytes<2> gate = zeros<2>();
            set_half(gate, 0, half_at(beat, 4 * j + 1));
            token_experts = shift_in<RECORD_ENTRIES, 1>(token_experts, name);
            token_gates = shift_in<2 * RECORD_ENTRIES, 2>(token_gates, gate);
        }
        if (at == LINE_BEATS - 1) {
            expert_memory[row] = token_experts;
            gate_memory[row] = token_gates;
            ++row;
        }
        at = at == LINE_BEATS - 1 ? 0 : at + 1;
    }
}

// `line` is the row of token 0 and `step` the lines to the next token's; slot s of a
// token lies slots[s] lines behind its row.
inline QueueLength match_expert(uint8_t expert, uint16_t rows, uint32_t line, uint32_t step,
                                const Bytes<RECORD_ENTRIES> expert_memory[TOKEN_LIMIT],
                                const Bytes<2 * RECORD_ENTRIES> gate_memory[TOKEN_LIMIT],
                                const uint32_t slots[RECORD_ENTRIES], Queued queue[TOKEN_LIMIT]) {
    QueueLength length;
    length.rows = 0;
    length.tiles = 0;
    length.last_rows = 0;
    uint32_t place = line;
MATCH:
    for (uint16_t r = 0; r < rows; ++r) {
#pragma HLS PIPELINE II = 1
        const Bytes<RECORD_ENTRIES> token_experts = expert_memory[r];
        const Bytes<2 * RECORD_ENTRIES> token_gates = gate_memory[r];
        uint8_t slot = 0;
        uint16_t gate = 0;
        bool found = false;
        for (int k = RECORD_ENTRIES - 1; k >= 0; --k) {
#pragma HLS UNROLL
            const uint8_t other = byte_at(token_experts, k);
            if (other < expert) ++slot;
            if (other == expert) {
                gate = half_at(token_gates, k);
                found = true;
            }
        }
        if (found) {
            Queued item;
            item.line = place + slots[slot & (RECORD_ENTRIES - 1)];
            item.gate = gate;
            item.spare = 0;
            queue[length.rows] = item;
            ++length.rows;
            if (length.last_rows == T || length.tiles == 0) {
                length.last_rows = 1;
                ++length.tiles;
            } else {
                ++length.last_rows;
            }
        }
        place += step;
    }
    return length;
}

}  // namespace m3vit

#endif
