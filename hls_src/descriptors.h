// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// What travels between the processes of the matrix pass beside the data.
//
// A *pass* runs one instruction. It is a sequence of *chunks*: the outputs of a layer
// (of an expert) whose weights lie in one half of the ping-pong together; in ATTENTION
// one plane of 64 channels. All tiles of T tokens meet a chunk before the next one.
// Only `walk` knows the program; everybody else gets the job and a Chunk at a time.
#ifndef M3VIT_DESCRIPTORS_H
#define M3VIT_DESCRIPTORS_H

#include "words.h"

namespace m3vit {

constexpr int TABLE_LINES = 4;  // of a GELU table

enum Mode {
    MODE_LINEAR = 0,
    MODE_CONV = 1,
    MODE_ATTENTION = 2,
    MODE_UP = 3,    // EXPERTS_UP
    MODE_DOWN = 4,  // EXPERTS_DOWN
};

// One instruction, as the top hands it to the matrix pass; the same for all processes.
// Addresses in lines from the start of the bank.
struct MatrixJob {
    uint8_t mode;        // Mode
    uint8_t store;       // Store; MODE_DOWN: gated int16
    uint8_t activation;  // Activation of an int8 result
    uint8_t planar;      // line l of row r at dst + l * dst_stride + r
    uint8_t passes;      // ATTENTION: 1 or 2
    int8_t pad;          // CONV3X3: value outside the map
    uint8_t shift_a;     // ATTENTION: scores
    uint8_t shift_b;     // ATTENTION: output
    uint16_t mult_a;
    uint16_t mult_b;
    uint32_t rows;    // tokens or pixels
    uint16_t height;  // CONV3X3: the map
    uint16_t width;
    uint16_t row_lines;  // lines of a source row (of one pixel)
    uint16_t k_lines;    // lines of a weight row: row_lines, CONV3X3 9 * row_lines
    uint16_t outputs;    // output channels
    uint16_t out_lines;  // lines of a destination row
    uint16_t heads;      // ATTENTION
    uint16_t head_dim;
    uint16_t k_offset;  // planes
    uint16_t v_offset;
    uint16_t experts;  // 1 unless MODE_UP, MODE_DOWN
    uint16_t top_k;
    uint16_t first_slot;
    uint16_t src_stride;
    uint16_t dst_stride;
    uint32_t src;
    uint32_t dst;
    uint32_t weights;
    uint32_t table;
    uint32_t part_lines;  // lines from one part of the weight image to the next
    uint32_t expert_lines;
    uint32_t records;
    uint16_t first_groups;  // groups of four outputs in the first chunk of a layer
    uint16_t chunk_groups;  // and in the others
    uint16_t layer_chunks;  // chunks of one layer (of one expert); ATTENTION: planes
    uint32_t chunks;        // of the pass, with those of experts that have no token
    uint16_t tiles;         // tiles of `rows` rows; unless MODE_UP, MODE_DOWN
    uint8_t last_rows;      // rows of the last of them
    uint32_t slot_lines;    // MODE_DOWN: lines from one slot of all tokens to the next
};

// One chunk, for engines, softmax, finish and everything behind them.
struct Chunk {
    uint16_t tiles;    // tiles of T tokens that meet it; 0: an expert without tokens
    uint16_t outputs;  // valid output channels in it; ATTENTION: channels of its heads
    uint16_t pieces;   // pieces of a weight row (k_lines * PIECES)
    uint8_t rows;      // valid rows of the last tile, 1 ... T
    uint8_t subs;      // ATTENTION: heads in this plane, 1, 2 or 4; otherwise 1
};
static_assert(sizeof(Chunk) == 8, "a power of two of bits");

// Gates of a tile's tokens (MODE_DOWN), in units of 1 / 65536.
struct Gates {
    uint16_t gate[16];
};

// A run of consecutive beats in the bank; none if `beats` is 0.
struct Run {
    uint32_t beat;
    uint32_t beats;
};

// What a chunk's runs are together.
struct Runs {
    uint32_t runs;
    uint32_t lines;
};

// A chunk and where its data lie. Lines from the start of the bank.
struct PlacedChunk {
    Chunk chunk;
    uint32_t weights;  // beats of 16 bytes in front of the rows in part 0; ATTENTION: of keys
    uint32_t beats;    // such beats of the rows in each part; ATTENTION: of keys, of values
    uint32_t table;    // GELU table of the expert; ATTENTION: values
    uint32_t tokens;   // row 0 of the source; MODE_UP: nothing
    uint32_t results;  // row 0 of the destination; MODE_DOWN: lines to add to each row's
    uint32_t spare;
};
static_assert(sizeof(PlacedChunk) == 32, "a power of two of bits");

}  // namespace m3vit

#endif
