// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// Collects the tokens of one tile from activation memory: plain rows, the
// tokens of an expert's queue, or 3x3 neighbourhoods (im2col on the fly).
#ifndef M3VIT_GATHER_H
#define M3VIT_GATHER_H

#include "cycles.h"
#include "layer.h"
#include "matrix_engine.h"

namespace m3vit {

// A line as the engine takes it: offset-binary, zero beyond `valid` bytes.
inline void stage_line(const int8_t line[LINE], int valid, uint8_t staged[LINE]) {
#pragma HLS INLINE
STAGE_BYTES:
    for (int b = 0; b < LINE; ++b) {
#pragma HLS UNROLL
        const uint8_t byte = b < valid ? static_cast<uint8_t>(line[b]) : 0;
        staged[b] = byte ^ OFFSET_BINARY;
    }
}

// A line outside the map.
inline void stage_padding(int8_t pad, int valid, uint8_t staged[LINE]) {
#pragma HLS INLINE
PAD_BYTES:
    for (int b = 0; b < LINE; ++b) {
#pragma HLS UNROLL
        const uint8_t byte = b < valid ? static_cast<uint8_t>(pad) : 0;
        staged[b] = byte ^ OFFSET_BINARY;
    }
}

inline void gather_row(const int8_t act[ACT_LINES][LINE], uint32_t first, int channels,
                       uint8_t staged[TOKEN_LINES][LINE]) {
    const int lines = static_cast<int>(lines_of(channels));
GATHER_LINES:
    for (int l = 0; l < minimum(lines, TOKEN_LINES); ++l) {
#pragma HLS PIPELINE II = 1
        stage_line(act[first + l], channels - l * LINE, staged[l]);
    }
}

inline void gather_neighbourhood(const int8_t act[ACT_LINES][LINE], const Layer &layer,
                                 uint32_t pixel, uint8_t staged[TOKEN_LINES][LINE]) {
    const int height = static_cast<int>(layer.height);
    const int width = static_cast<int>(layer.width);
    const int channels = static_cast<int>(layer.channels);
    const int lines = static_cast<int>(lines_of(channels));
    const int y = static_cast<int>(pixel) / width;
    const int x = static_cast<int>(pixel) % width;
NEIGHBOURS:
    for (int n = 0; n < 9; ++n) {
        const int ny = y + n / 3 - 1;
        const int nx = x + n % 3 - 1;
        const bool inside = ny >= 0 && ny < height && nx >= 0 && nx < width;
        const uint32_t first =
            inside ? layer.src + static_cast<uint32_t>(ny * width + nx) * layer.src_stride : 0;
    NEIGHBOUR_LINES:
        for (int l = 0; l < minimum(lines, TOKEN_LINES / 9); ++l) {
#pragma HLS PIPELINE II = 1
            const int valid = channels - l * LINE;
            if (inside) {
                stage_line(act[first + l], valid, staged[n * lines + l]);
            } else {
                stage_padding(layer.pad, valid, staged[n * lines + l]);
            }
        }
    }
}

// Rows `first` to `first + valid` of the layer's input.
inline void gather_tile(const int8_t act[ACT_LINES][LINE], const uint16_t queue[QUEUE_ENTRIES],
                        const Layer &layer, uint32_t first, int valid, TokenTile &tile) {
GATHER_TOKENS:
    for (int t = 0; t < minimum(valid, TOKENS_PAR); ++t) {
        const uint32_t r = first + t;
        if (layer.source == SOURCE_MAP) {
            gather_neighbourhood(act, layer, r, tile.line[t]);
        } else {
            const uint32_t row = layer.source == SOURCE_QUEUE ? queue[layer.queue + r] : r;
            gather_row(act, layer.src + row * layer.src_stride, static_cast<int>(layer.channels),
                       tile.line[t]);
        }
    }
    const uint64_t lines = lines_of(layer.channels) * (layer.source == SOURCE_MAP ? 9 : 1);
    cycles::loop(valid * lines, 1, MEMORY_LATENCY);
}

}  // namespace m3vit

#endif
