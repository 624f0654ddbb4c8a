// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// ATTENTION: one pass over the keys for every tile of queries, with a running
// maximum and sum per query. No matrix of scores exists beyond one tile of 64
// queries by 64 keys.
//
// Work is cut into units (head, query tile, key block), which go through a
// pipeline of five stages. In step i
//
//     keys and queries of unit i + 2 and values of unit i   are loaded,
//     unit i + 1   is multiplied by its keys     (matrix engine),
//     unit i       becomes probabilities         (softmax lanes),
//     unit i - 1   is multiplied by its values   (matrix engine),
//     unit i - 2   is divided by its sum and written, if it ends its tile.
//
// Keys and transposed values lie in the weight ping-pong (behind the weights),
// queries and probabilities in the token tiles: to the engine it is all the
// same.
#ifndef M3VIT_ATTENTION_H
#define M3VIT_ATTENTION_H

#include "chip.h"
#include "gather.h"
#include "softmax.h"

namespace m3vit {

constexpr int FIRST_KEY_LINE = WEIGHT_LINES;
constexpr int FIRST_VALUE_LINE = WEIGHT_LINES + KEY_LINES;
constexpr int MAX_BLOCKS = static_cast<int>(MAX_TOKENS) / BLOCK;
constexpr int MAX_UNITS = static_cast<int>(MAX_HEADS) * MAX_BLOCKS * MAX_BLOCKS;
constexpr int UNIT_STAGES = 5;
static_assert(BLOCK == LINE && QUERY_TILE == LINE, "a block of keys is a line of probabilities");
static_assert(4 * QUERY_GROUPS <= TOKEN_LINES, "probabilities of two units fit a token tile");

struct Unit {
    bool valid;
    int head;
    int tile;   // of queries
    int block;  // of keys
    int slot;   // counts tiles modulo TILE_SLOTS
};

constexpr int TILE_SLOTS = 4;  // tiles between softmax and the end of the pipeline, as a power of 2

// Running softmax of the queries of a tile.
struct SoftmaxState {
    int16_t maximum[QUERY_TILE];  // octaves
    int32_t total[QUERY_TILE];    // of the probabilities, relative to the maximum
};

// The channels of one head out of a line of activation memory.
inline void head_of_line(const int8_t line[LINE], int offset, int head_dim, int8_t out[LINE]) {
HEAD_BYTES:
    for (int c = 0; c < LINE; ++c) {
#pragma HLS UNROLL
        out[c] = 0;
        if (c < head_dim) out[c] = line[offset + c];
    }
}

inline int tile_queries(const Instruction &in, const Unit &unit) {
    return minimum(static_cast<int>(in.rows) - unit.tile * QUERY_TILE, QUERY_TILE);
}

inline int block_keys(const Instruction &in, const Unit &unit) {
    return minimum(static_cast<int>(in.rows) - unit.block * BLOCK, BLOCK);
}

inline int tile_groups(const Instruction &in, const Unit &unit) {
    return (tile_queries(in, unit) + TOKENS_PAR - 1) / TOKENS_PAR;
}

inline bool last_block(const Instruction &in, const Unit &unit) {
    return (unit.block + 1) * BLOCK >= static_cast<int>(in.rows);
}

// Head of token `row`, starting at byte `offset` of its row.
inline void read_head(const Instruction &in, const int8_t act[ACT_LINES][LINE], uint32_t row,
                      uint32_t offset, int8_t out[LINE]) {
    const uint32_t line = in.src + row * in.src_stride + offset / LINE;
    head_of_line(act[line], static_cast<int>(offset % LINE), static_cast<int>(in.head_dim), out);
}

inline void load_queries(const Instruction &in, const Unit &unit, const int8_t act[ACT_LINES][LINE],
                         TokenTile &queries) {
LOAD_QUERIES:
    for (int i = 0; i < minimum(tile_queries(in, unit), QUERY_TILE); ++i) {
#pragma HLS PIPELINE II = 1
        int8_t head[LINE];
        read_head(in, act, static_cast<uint32_t>(unit.tile * QUERY_TILE + i),
                  unit.head * in.head_dim, head);
        stage_line(head, LINE,
                   queries.line[i % TOKENS_PAR][unit.slot % 2 * QUERY_GROUPS + i / TOKENS_PAR]);
    }
    cycles::loop(tile_queries(in, unit), 1, MEMORY_LATENCY);
}

inline void load_keys(const Instruction &in, const Unit &unit, const int8_t act[ACT_LINES][LINE],
                      WeightTile &tile) {
LOAD_KEYS:
    for (int j = 0; j < minimum(block_keys(in, unit), BLOCK); ++j) {
#pragma HLS PIPELINE II = 1
        read_head(in, act, static_cast<uint32_t>(unit.block * BLOCK + j),
                  in.k_offset + unit.head * in.head_dim,
                  tile.line[j % WEIGHT_PORTS][FIRST_KEY_LINE + j / WEIGHT_PORTS]);
    }
    cycles::loop(block_keys(in, unit), 1, MEMORY_LATENCY);
}

// Values are transposed on the way: 64 keys are read, then 64 channels written
// (one bank per diagonal of the square).
inline void load_values(const Instruction &in, const Unit &unit, const int8_t act[ACT_LINES][LINE],
                        WeightTile &tile) {
    int8_t square[BLOCK][LINE] = {};
#pragma HLS ARRAY_PARTITION variable = square complete dim = 2
LOAD_VALUES:
    for (int j = 0; j < minimum(block_keys(in, unit), BLOCK); ++j) {
#pragma HLS PIPELINE II = 1
        read_head(in, act, static_cast<uint32_t>(unit.block * BLOCK + j),
                  in.v_offset + unit.head * in.head_dim, square[j]);
    }
TRANSPOSE_VALUES:
    for (int c = 0; c < static_cast<int>(MAX_HEAD_DIM); ++c) {
#pragma HLS PIPELINE II = 1
        int8_t *line = tile.line[c % WEIGHT_PORTS][FIRST_VALUE_LINE + c / WEIGHT_PORTS];
    TRANSPOSE_KEYS:
        for (int j = 0; j < BLOCK; ++j) {
#pragma HLS UNROLL
            line[j] = square[j][c];
        }
    }
    cycles::loop(block_keys(in, unit) + in.head_dim, 1, 2 * MEMORY_LATENCY);
}

inline void multiply_keys(const Instruction &in, const Unit &unit, const TokenTile &queries,
                          const WeightTile &tile, ResultTile &scores) {
    const int groups = (block_keys(in, unit) + WEIGHT_PORTS - 1) / WEIGHT_PORTS;
KEY_GROUPS:
    for (int g = 0; g < minimum(tile_groups(in, unit), QUERY_GROUPS); ++g) {
        const int valid = minimum(tile_queries(in, unit) - g * TOKENS_PAR, TOKENS_PAR);
        matrix_tile(queries.line, unit.slot % 2 * QUERY_GROUPS + g, tile.line, FIRST_KEY_LINE, 1,
                    groups, valid, g * BLOCK, scores.column);
    }
    cycles::engine(tile_groups(in, unit) * matrix_cycles(1, groups));
}

// Probabilities go to lines `page` (high parts) and behind (low parts).
inline void softmax_unit(const Instruction &in, const Unit &unit, const ResultTile &scores,
                         int page, SoftmaxState &state, TokenTile &probabilities,
                         uint16_t rise[QUERY_TILE]) {
SOFTMAX_QUERIES:
    for (int i = 0; i < minimum(tile_queries(in, unit), QUERY_TILE); ++i) {
        const int t = i % TOKENS_PAR;
        const int g = i / TOKENS_PAR;
        if (unit.block == 0) {
            state.maximum[i] = -128;
            state.total[i] = 0;
        }
        rise[i] = static_cast<uint16_t>(softmax_block(
            scores.column[t] + g * BLOCK, block_keys(in, unit), static_cast<uint16_t>(in.mult_a),
            in.shift_a, state.maximum[i], state.total[i], probabilities.line[t][page + g],
            probabilities.line[t][page + QUERY_GROUPS + g]));
    }
    // One query's scores are scaled while those of the query before are raised.
    cycles::loop(tile_queries(in, unit) * (BLOCK / LANES), 1, 3 * VECTOR_LATENCY);
}

inline void multiply_values(const Instruction &in, const Unit &unit, const TokenTile &probabilities,
                            int page, const WeightTile &tile, const uint16_t rise[QUERY_TILE],
                            ResultTile &products, int32_t mixed[QUERY_TILE][MAX_HEAD_DIM]) {
    const int groups = static_cast<int>(in.head_dim) / WEIGHT_PORTS;
VALUE_GROUPS:
    for (int g = 0; g < minimum(tile_groups(in, unit), QUERY_GROUPS); ++g) {
        const int valid = minimum(tile_queries(in, unit) - g * TOKENS_PAR, TOKENS_PAR);
        matrix_tile(probabilities.line, page + g, tile.line, FIRST_VALUE_LINE, 1, groups, valid, 0,
                    products.column);
        matrix_tile(probabilities.line, page + QUERY_GROUPS + g, tile.line, FIRST_VALUE_LINE, 1,
                    groups, valid, BLOCK, products.column);
    VALUE_QUERIES:
        for (int t = 0; t < minimum(valid, TOKENS_PAR); ++t) {
            const int i = g * TOKENS_PAR + t;
            accumulate_values(products.column[t], products.column[t] + BLOCK, unit.block == 0,
                              rise[i], mixed[i]);
        }
    }
    // Accumulation follows the engine group by group; the last one sticks out.
    cycles::engine(tile_groups(in, unit) * 2 * matrix_cycles(1, groups));
    cycles::loop(TOKENS_PAR * (BLOCK / LANES), 1, VECTOR_LATENCY);
}

inline void finish_tile(const Instruction &in, const Unit &unit,
                        const int32_t mixed[QUERY_TILE][MAX_HEAD_DIM],
                        const int32_t total[QUERY_TILE], int8_t act[ACT_LINES][LINE]) {
    const int head_dim = static_cast<int>(in.head_dim);
    const uint32_t offset = unit.head * in.head_dim;
FINISH_QUERIES:
    for (int i = 0; i < minimum(tile_queries(in, unit), QUERY_TILE); ++i) {
        int8_t out[MAX_HEAD_DIM];
        finish_query(mixed[i], total[i], static_cast<uint16_t>(in.mult_b), in.shift_b, out);
        const uint32_t row = static_cast<uint32_t>(unit.tile * QUERY_TILE + i);
        int8_t *line = act[in.dst + row * in.dst_stride + offset / LINE];
    FINISH_BYTES:
        for (int c = 0; c < minimum(head_dim, MAX_HEAD_DIM); ++c) {
#pragma HLS UNROLL
            line[offset % LINE + c] = out[c];
        }
    }
    const uint64_t steps = LINE / LANES > 2 ? LINE / LANES : 2;  // a line is read and merged
    cycles::loop(tile_queries(in, unit) * steps, 1, VECTOR_LATENCY + DIVIDER_LATENCY);
}

inline Unit first_unit() {
    Unit unit = {true, 0, 0, 0, 0};
    return unit;
}

// Key blocks innermost, then query tiles, then heads.
inline Unit next_unit(const Instruction &in, const Unit &unit) {
    Unit next = unit;
    if (!last_block(in, unit)) {
        ++next.block;
        return next;
    }
    next.block = 0;
    next.slot = (unit.slot + 1) % TILE_SLOTS;
    if ((unit.tile + 1) * QUERY_TILE < static_cast<int>(in.rows)) {
        ++next.tile;
    } else {
        next.tile = 0;
        ++next.head;
        next.valid = unit.valid && next.head < static_cast<int>(in.heads);
    }
    return next;
}

// What outlives a step.
struct AttentionState {
    SoftmaxState softmax;
    uint16_t rise[2][QUERY_TILE];
    int32_t total[TILE_SLOTS][QUERY_TILE];       // of finished tiles
    int32_t mixed[2][QUERY_TILE][MAX_HEAD_DIM];  // weighted values, tile by tile
};

// One step of the pipeline; unit[2] is "unit i" of the description above. The
// first of each pair of memories is filled for the next step, the second was
// filled in the step before.
inline void attention_step(const Instruction &in, const Unit unit[UNIT_STAGES], int side,
                           WeightTile &filled, const WeightTile &ready, ResultTile &scored,
                           ResultTile &scoring, ResultTile &products, TokenTile &queries,
                           TokenTile &probabilities, AttentionState &state,
                           int8_t act[ACT_LINES][LINE]) {
    const int page = side * 2 * QUERY_GROUPS;
    const int page_before = (1 - side) * 2 * QUERY_GROUPS;
    cycles::Fork fork;
    if (unit[0].valid && unit[0].block == 0) load_queries(in, unit[0], act, queries);
    if (unit[0].valid) load_keys(in, unit[0], act, filled);
    if (unit[2].valid) load_values(in, unit[2], act, filled);
    fork.branch();
    if (unit[2].valid) {
        softmax_unit(in, unit[2], scored, page, state.softmax, probabilities, state.rise[side]);
        if (last_block(in, unit[2])) {
        KEEP_TOTALS:
            for (int i = 0; i < QUERY_TILE; ++i) {
#pragma HLS PIPELINE II = 1
                state.total[unit[2].slot][i] = state.softmax.total[i];
            }
        }
    }
    fork.branch();
    if (unit[3].valid) {
        multiply_values(in, unit[3], probabilities, page_before, ready, state.rise[1 - side],
                        products, state.mixed[unit[3].slot % 2]);
    }
    if (unit[1].valid) multiply_keys(in, unit[1], queries, ready, scoring);
    fork.branch();
    if (unit[4].valid && last_block(in, unit[4])) {
        finish_tile(in, unit[4], state.mixed[unit[4].slot % 2], state.total[unit[4].slot], act);
    }
    fork.branch();
    fork.join();
}

inline void run_attention(const Instruction &in) {
    static AttentionState state;
    static ResultTile products;
    Unit unit[UNIT_STAGES] = {};
    unit[0] = first_unit();
UNITS:
    for (int step = 0; step < MAX_UNITS + UNIT_STAGES; ++step) {
        if (step % 2 == 0) {
            attention_step(in, unit, 0, chip::weights_ping, chip::weights_pong, chip::results_ping,
                           chip::results_pong, products, chip::tokens_ping, chip::tokens_pong,
                           state, chip::act);
        } else {
            attention_step(in, unit, 1, chip::weights_pong, chip::weights_ping, chip::results_pong,
                           chip::results_ping, products, chip::tokens_ping, chip::tokens_pong,
                           state, chip::act);
        }
    ADVANCE:
        for (int s = UNIT_STAGES - 1; s > 0; --s) {
#pragma HLS UNROLL
            unit[s] = unit[s - 1];
        }
        unit[0] = next_unit(in, unit[1]);
        if (!unit[0].valid && !unit[1].valid && !unit[2].valid && !unit[3].valid &&
            !unit[4].valid) {
            break;
        }
    }
}

}  // namespace m3vit

#endif
