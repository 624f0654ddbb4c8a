// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// Weights come from DRAM in the order in which the engine eats them, chunk by
// chunk, on four ports at once. While one half of the ping-pong is computed
// with, the next chunk arrives in the other: of the same layer, of the next
// layer or expert, or of the next instruction.
#ifndef M3VIT_WEIGHT_STREAM_H
#define M3VIT_WEIGHT_STREAM_H

#include "cycles.h"
#include "memories.h"
#include "types.h"

namespace m3vit {

// Consecutive output channels of one layer.
struct Chunk {
    bool valid;
    uint32_t beat;          // of its first row, the same in every port
    uint32_t first_output;  // output channel of its first row
    int groups;             // groups of four rows, one row per port
    int lines;              // lines of weights in a row
    bool has_table;         // a GELU table belongs to the layer
    uint32_t table;         // its beat in port 0
    uint32_t expert;        // EXPERTS: whose weights, and which of the two layers
    bool second;
};

// How many groups of rows of `lines` lines make a chunk: what fits, whole lines
// of output channels if possible.
inline int chunk_groups(int lines) {
    const int beats = minimum(WEIGHT_TILE_BEATS, maximum(CHUNK_BEATS, 1 + LINE_BEATS * lines));
    const int fit = minimum(beats / (1 + LINE_BEATS * lines), CHUNK_GROUPS);
    constexpr int line_groups = LINE / WEIGHT_PORTS;
    return fit > line_groups ? fit - fit % line_groups : fit;
}

// One beat of the stream of one port: the parameters of a row, or a quarter line.
inline void place_beat(const Beat &beat, int b, int port, int line, int column, WeightTile &tile) {
#pragma HLS INLINE
    if (b == 0) {
        tile.bias[column] = signed32(beat, PARAMETER_BIAS);
        tile.multiplier[column] = static_cast<uint16_t>(beat.byte[PARAMETER_MULTIPLIER] |
                                                        beat.byte[PARAMETER_MULTIPLIER + 1] << 8);
        tile.shift[column] = beat.byte[PARAMETER_SHIFT];
    } else {
    PLACE_BYTES:
        for (int i = 0; i < BEAT; ++i) {
#pragma HLS UNROLL
            tile.line[port][line + (b - 1) / LINE_BEATS][(b - 1) % LINE_BEATS * BEAT + i] =
                static_cast<int8_t>(beat.byte[i]);
        }
    }
}

inline void load_table(const Beat *port, uint32_t beat, int8_t table[256]) {
LOAD_TABLE:
    for (int b = 0; b < 256 / BEAT; ++b) {
#pragma HLS PIPELINE II = 1
        const Beat entries = port[beat + b];
    TABLE_BYTES:
        for (int i = 0; i < BEAT; ++i) {
#pragma HLS UNROLL
            table[b * BEAT + i] = static_cast<int8_t>(entries.byte[i]);
        }
    }
    cycles::burst(256 / BEAT, 1);
}

// `half` is the one that `tile` is, for the cycle model.
inline void load_chunk(const Beat *weights0, const Beat *weights1, const Beat *weights2,
                       const Beat *weights3, const Chunk &chunk, WeightTile &tile, int half) {
    if (!chunk.valid) return;
    cycles::Mark mark;
    const int row_beats = 1 + LINE_BEATS * chunk.lines;
    const int first_column = chunk.first_output % LINE;
LOAD_ROWS:
    for (int g = 0; g < minimum(chunk.groups, CHUNK_GROUPS); ++g) {
        const uint32_t row = chunk.beat + static_cast<uint32_t>(g) * row_beats;
        const int column = first_column + WEIGHT_PORTS * g;
    LOAD_BEATS:
        for (int b = 0; b < minimum(row_beats, WEIGHT_TILE_BEATS); ++b) {
#pragma HLS PIPELINE II = 1
            place_beat(weights0[row + b], b, 0, g * chunk.lines, column + 0, tile);
            place_beat(weights1[row + b], b, 1, g * chunk.lines, column + 1, tile);
            place_beat(weights2[row + b], b, 2, g * chunk.lines, column + 2, tile);
            place_beat(weights3[row + b], b, 3, g * chunk.lines, column + 3, tile);
        }
    }
    cycles::burst(static_cast<uint64_t>(chunk.groups) * row_beats, WEIGHT_PORTS);
    if (chunk.has_table) load_table(weights0, chunk.table, tile.gelu);
    mark.arrived(half);
}

}  // namespace m3vit

#endif
