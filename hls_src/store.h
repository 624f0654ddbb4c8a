// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// From accumulators to memory: requantisation, activation, and the forms a
// result can take. 64 output channels at a time, LANES of them per cycle.
#ifndef M3VIT_STORE_H
#define M3VIT_STORE_H

#include "cycles.h"
#include "layer.h"
#include "requantise.h"

namespace m3vit {

// Requantise 64 accumulators with the parameters of their channels, saturated
// to 32 bits. `extra` fractional bits are kept.
inline void requantise_line(const int32_t acc[LINE], const int32_t bias[LINE],
                            const uint16_t multiplier[LINE], const uint8_t shift[LINE], int extra,
                            int32_t out[LINE]) {
REQUANTISE_LINE:
    for (int first = 0; first < LINE; first += LANES) {
#pragma HLS PIPELINE II = 1
    REQUANTISE_LANES:
        for (int i = 0; i < LANES; ++i) {
#pragma HLS UNROLL
            const int j = first + i;
            const uint32_t s = static_cast<uint32_t>(shift[j] - extra);
            out[j] = sat32(requantise(add_wrapping(acc[j], bias[j]), multiplier[j], s));
        }
    }
}

// Scale by a gate weight with 16 fractional bits; eight more come from `extra`.
inline void apply_gate(int32_t value[LINE], uint16_t gate) {
GATE_LANES:
    for (int j = 0; j < LINE; ++j) {
#pragma HLS UNROLL factor = LANES
        value[j] = sat16(rshift(static_cast<int64_t>(value[j]) * gate, 24));
    }
}

inline void activate_line(const int32_t value[LINE], uint32_t activation, const int8_t gelu[256],
                          int8_t out[LINE]) {
ACTIVATE_LANES:
    for (int j = 0; j < LINE; ++j) {
#pragma HLS UNROLL factor = LANES
        out[j] = sat8(value[j]);
    }
    if (activation == ACTIVATION_RELU) {
    RELU_LANES:
        for (int j = 0; j < LINE; ++j) {
#pragma HLS UNROLL factor = LANES
            out[j] = out[j] < 0 ? static_cast<int8_t>(0) : out[j];
        }
    } else if (activation == ACTIVATION_GELU) {
    GELU_LANES:
        for (int j = 0; j < LINE; ++j) {
#pragma HLS UNROLL factor = LANES
            out[j] = gelu[out[j] + 128];
        }
    }
}

// Bytes `from` to `to` of a line; those before keep what an earlier chunk of
// channels wrote, those behind are unspecified.
inline void write_line(int8_t line[LINE], const int8_t bytes[LINE], int from) {
WRITE_BYTES:
    for (int b = 0; b < LINE; ++b) {
#pragma HLS UNROLL
        if (b >= from) line[b] = bytes[b];
    }
}

inline void write_wide_line(int8_t line[LINE], const int32_t value[LINE / 2], int from) {
WRITE_WORDS:
    for (int j = 0; j < LINE / 2; ++j) {
#pragma HLS UNROLL
        const uint16_t word = static_cast<uint16_t>(sat16(value[j]));
        if (j >= from) {
            line[2 * j] = static_cast<int8_t>(word & 0xff);
            line[2 * j + 1] = static_cast<int8_t>(word >> 8);
        }
    }
}

inline void add_residual(int16_t row[LINE], const int32_t value[LINE], int from, int to) {
ADD_RESIDUAL:
    for (int j = from; j < minimum(to, LINE); ++j) {
#pragma HLS PIPELINE II = 1
#pragma HLS UNROLL factor = LANES
        row[j] = sat16(row[j] + sat16(value[j]));
    }
}

inline void write_scores(int32_t row[LINE], const int32_t value[LINE], int from, int to) {
WRITE_SCORES:
    for (int j = from; j < minimum(to, LINE); ++j) {
#pragma HLS PIPELINE II = 1
#pragma HLS UNROLL factor = LANES
        row[j] = value[j];
    }
}

// One row's results of one chunk: columns `first` to `last` of `results`, which
// start at output channel `base`, a multiple of 64.
inline void store_row(const Layer &layer, uint32_t r, const int32_t results[RESULT_COLUMNS],
                      const WeightTile &tile, uint32_t base, int first, int last,
                      const Queues &queues, int8_t act[ACT_LINES][LINE],
                      int16_t residual[RESIDUAL_ELEMENTS], int32_t scores[SCORE_ELEMENTS]) {
    const bool gated = layer.sink == SINK_GATED;
    const uint32_t entry = gated ? layer.queue + r : 0;
    const uint32_t row = layer.dst + (gated ? queues.token[entry] : r) * layer.dst_stride;
STORE_LINES:
    for (int l = 0; l < minimum(divide_up(last, LINE), RESULT_LINES); ++l) {
        const int column = l * LINE;
        const int from = maximum(first - column, 0);
        const int to = minimum(last - column, LINE);
        int32_t value[LINE];
        requantise_line(results + column, tile.bias + column, tile.multiplier + column,
                        tile.shift + column, gated ? 8 : 0, value);
        if (gated) apply_gate(value, queues.gate[entry]);
        const uint32_t output = base + column;
        if (layer.sink == SINK_ACT8) {
            int8_t bytes[LINE];
            activate_line(value, layer.activation, tile.gelu, bytes);
            write_line(act[row + output / LINE], bytes, from);
        } else if (layer.sink == SINK_ACT16) {
            const uint32_t line = row + output / (LINE / 2);
            write_wide_line(act[line], value, from);
            if (to > LINE / 2) write_wide_line(act[line + 1], value + LINE / 2, from - LINE / 2);
        } else if (layer.sink == SINK_SCORES) {
            write_scores(scores + row + output, value, from, to);
        } else {
            add_residual(residual + row + output, value, from, to);
        }
    }
}

// A tile of results of one chunk.
inline void store_tile(const Layer &layer, uint32_t first_row, int valid, const ResultTile &results,
                       const WeightTile &tile, uint32_t first_output, int outputs,
                       const Queues &queues, int8_t act[ACT_LINES][LINE],
                       int16_t residual[RESIDUAL_ELEMENTS], int32_t scores[SCORE_ELEMENTS]) {
    const int first = static_cast<int>(first_output % LINE);
    const int last = first + outputs;
STORE_TOKENS:
    for (int t = 0; t < minimum(valid, TOKENS_PAR); ++t) {
        store_row(layer, first_row + t, results.column[t], tile, first_output - first, first, last,
                  queues, act, residual, scores);
    }
    // A line that an earlier chunk began is read before it is written.
    const uint64_t merged = first != 0 && layer.sink <= SINK_ACT16 ? 1 : 0;
    const uint64_t lines = divide_up(last, LINE);
    cycles::loop(valid * (lines * (LINE / LANES) + merged), 1, VECTOR_LATENCY);
}

}  // namespace m3vit

#endif
