// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// The one configuration header: what a bitstream's build fixes. Parameters of
// a board come from m3vit_pynq/abi/boards.py through a generated header; the
// rest follows from them.
#ifndef M3VIT_CONFIG_H
#define M3VIT_CONFIG_H

#ifndef M3VIT_BOARD_HEADER
#define M3VIT_BOARD_HEADER "generated/boards/zcu104.h"
#endif
#include M3VIT_BOARD_HEADER
#include "generated/abi.h"

namespace m3vit {

using board::ACT_LINES;
using board::IN_PAR;
using board::OUT_PAR;
using board::QUEUE_ENTRIES;
using board::RESIDUAL_ELEMENTS;
using board::SCORE_ELEMENTS;
using board::STRIP_BYTES;
using board::TOKENS_PAR;
using board::WEIGHT_TILE_BEATS;

constexpr int LINE_BEATS = LINE / BEAT;

// Requantisation, softmax and residual lanes: as many as the engine can
// finish accumulators in one cycle, so that they never limit it.
constexpr int LANES = TOKENS_PAR * OUT_PAR;
// Channels that LAYERNORM takes per cycle. Each costs about seven DSP slices (a
// wide multiplier and two small ones), after the engine's one per two products.
constexpr int SPARE_DSP = board::DSP - TOKENS_PAR * OUT_PAR * IN_PAR / 2;
constexpr int NORM_LANES = SPARE_DSP >= 512 ? 32 : (SPARE_DSP >= 160 ? 16 : 8);

// Rows of weights that the engine finishes before it turns to the next chunk.
constexpr int CHUNK_GROUPS = 64;                                // groups of four rows
constexpr int CHUNK_OUTPUTS = WEIGHT_PORTS * CHUNK_GROUPS;      // output channels
constexpr int CHUNK_BEATS = 1280;                               // so that none takes long to load
constexpr int WEIGHT_LINES = WEIGHT_TILE_BEATS / LINE_BEATS;    // 64-byte lines per port
constexpr int TOKEN_LINES = static_cast<int>(MAX_COLS) / LINE;  // lines of one row of tokens

// Attention: queries that share one pass over the keys.
constexpr int QUERY_TILE = 64;
constexpr int QUERY_GROUPS = QUERY_TILE / TOKENS_PAR;

// Keys and values of one block lie behind the weights of a tile, so that the
// next layer's weights can arrive meanwhile.
constexpr int KEY_LINES = static_cast<int>(KEY_BLOCK) / WEIGHT_PORTS;
constexpr int VALUE_LINES = static_cast<int>(MAX_HEAD_DIM) / WEIGHT_PORTS;
constexpr int TILE_LINES = WEIGHT_LINES + KEY_LINES + VALUE_LINES;

// Accumulators per token: those of a chunk, which may start inside a line, or
// the scores of a query tile.
constexpr int RESULT_LINES =
    CHUNK_OUTPUTS / LINE + 1 > QUERY_GROUPS ? CHUNK_OUTPUTS / LINE + 1 : QUERY_GROUPS;
constexpr int RESULT_COLUMNS = RESULT_LINES * LINE;

// Rows whose LAYERNORM statistics are in flight together.
constexpr int NORM_ROWS = 64;

// Latencies, in cycles, that the cycle model charges once per pipelined loop.
constexpr int DRAM_LATENCY = 64;     // address to first beat of a burst
constexpr int ENGINE_LATENCY = 12;   // operand read, multiply, adder tree, write
constexpr int VECTOR_LATENCY = 16;   // multiply, shift, saturate, write
constexpr int MEMORY_LATENCY = 4;    // read a line, write a line
constexpr int ROOT_LATENCY = 36;     // 32 stages of the integer square root
constexpr int DIVIDER_LATENCY = 68;  // 64-bit pipelined divider
constexpr int STEP_LATENCY = 8;      // fetch, decode, check, start of one instruction

static_assert(LINE % IN_PAR == 0, "IN_PAR divides a line");
static_assert(WEIGHT_PORTS % OUT_PAR == 0, "OUT_PAR divides a group of rows");
static_assert(LINE % LANES == 0, "the lanes divide a line");
static_assert(QUERY_TILE % TOKENS_PAR == 0, "TOKENS_PAR divides a query tile");

}  // namespace m3vit

#endif
