// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// The forms of on-chip memory. Results never depend on the sizes.
#ifndef M3VIT_MEMORIES_H
#define M3VIT_MEMORIES_H

#include "config.h"

namespace m3vit {

// One half of the weight ping-pong: rows of one chunk, split among the ports
// as in the weight image, and the parameters of its output channels in the
// order of the channels.
struct WeightTile {
    int8_t line[WEIGHT_PORTS][TILE_LINES][LINE];
    int32_t bias[RESULT_COLUMNS];
    uint16_t multiplier[RESULT_COLUMNS];
    uint8_t shift[RESULT_COLUMNS];
    int8_t gelu[256];
};

// Names of the two halves for the cycle model.
constexpr int PING = 0;
constexpr int PONG = 1;

// TOKENS_PAR rows of tokens as the engine reads them (offset-binary).
struct TokenTile {
    uint8_t line[TOKENS_PAR][TOKEN_LINES][LINE];
};

// What the engine makes of them with one chunk of weights.
struct ResultTile {
    int32_t column[TOKENS_PAR][RESULT_COLUMNS];
};

// Queues of the experts, one after the other: expert e has the entries
// first[e] to first[e + 1]. The shape is that of the GATE that filled them; no
// rows when none did in this run.
struct Queues {
    uint32_t rows;
    uint32_t experts;
    uint32_t top_k;
    uint16_t first[MAX_EXPERTS + 1];
    uint16_t token[QUEUE_ENTRIES];
    uint16_t gate[QUEUE_ENTRIES];
};

// Scale and offset of every channel of a LAYERNORM.
struct NormTable {
    int16_t gamma[MAX_LAYERNORM];
    int32_t beta[MAX_LAYERNORM];
};

}  // namespace m3vit

#endif
