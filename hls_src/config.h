// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// What a bitstream's build fixes: parallelism and buffer sizes of a board, from
// m3vit_pynq/abi/boards.py through generated headers, and what follows from them.
#ifndef M3VIT_CONFIG_H
#define M3VIT_CONFIG_H

#include "generated/abi.h"
#include "generated/board.h"

namespace m3vit {

using board::FIRST_GROUPS;
using board::HALF_LINES;
using board::IN_PAR;
using board::MAP_LINES;
using board::OUT_PAR;
using board::PORT_BYTES;
using board::TOKENS_PAR;

constexpr int T = TOKENS_PAR;          // tokens of a tile
constexpr int OH = OUT_PAR / 2;        // outputs per cycle of one half engine
constexpr int PIECES = LINE / IN_PAR;  // cycles in which the engine takes one line

constexpr int LINE_BEATS = LINE / PORT_BYTES;  // port beats of a line
constexpr int ROW_HEAD = BEAT / PORT_BYTES;    // port beats of a parameter beat

// Keys of one head plane, rows of the router.
constexpr int TOKEN_LIMIT = board::MAX_TOKENS;
// Pieces of the longest row of tokens.
constexpr int ROW_PIECES = static_cast<int>(MAX_K) / IN_PAR;
// Words of one half of the weight ping-pong of a half engine.
constexpr int HALF_WORDS = HALF_LINES * PIECES / OH;
// Groups of four outputs whose parameters one half of a ping-pong holds.
constexpr int CHUNK_GROUPS = HALF_LINES < 2048 ? 128 : 256;
// Lines of a row that leave for memory together.
constexpr int SEGMENT = 16;

static_assert(LINE % IN_PAR == 0, "IN_PAR divides a line");
static_assert(OUT_PAR == 2 || OUT_PAR == 4, "each half engine takes one or two outputs");
static_assert(T % 2 == 0 && T <= SEGMENT, "two tokens share a multiplier");
static_assert(BEAT % PORT_BYTES == 0, "a parameter beat is whole port beats");
static_assert(FIRST_GROUPS % 16 == 0, "chunks are whole lines of 64 outputs");
static_assert(TOKEN_LIMIT % static_cast<int>(KEY_BLOCK) == 0 && TOKEN_LIMIT <= HALF_LINES,
              "a half engine holds the keys of a head");

}  // namespace m3vit

#endif
