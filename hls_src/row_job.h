// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// One instruction as the top hands it to the row pass: for each process what it has to
// do, counts of 0 where the instruction has no use for it.
#ifndef M3VIT_ROW_JOB_H
#define M3VIT_ROW_JOB_H

#include "check_shape.h"
#include "rows.h"

namespace m3vit {

// Channels of int16 in a beat.
constexpr int LANES = PORT_BYTES / 2;
// Shortest round of slots: more than the stages between reading and writing a beat.
constexpr uint32_t ROUND_STEPS = 16;
// Steps in which norm_scale, norm_root and norm_inverse take a row: 18 digits, and some in
// which the result leaves the pipeline.
constexpr int SCALE_STEPS = 24;
// Beats of normalised rows that wait while the residual rows of their turn are written.
constexpr uint32_t NORMALISED_DEPTH = 512;
// Logarithm of the most rows in a turn.
constexpr uint32_t MOST_TURN = 5;

enum RowMode {
    ROW_COPY = 0,      // LOAD_RESIDUAL
    ROW_NORM = 1,      // LAYERNORM
    ROW_GATE = 2,      // GATE
    ROW_UPSAMPLE = 3,  // UPSAMPLE2X
    ROW_CLASSES = 4,   // OUTPUT_CLASSES
    ROW_DEPTH = 5,     // OUTPUT_DEPTH
    ROW_PATCHES = 6,   // LOAD_PATCHES
};

// LAYERNORM.
struct NormJob {
    uint64_t eps;
    uint32_t rows;
    uint32_t row_beats;        // of all rows of int16
    uint32_t combine_steps;    // and iterations of combine
    uint32_t scale_steps;      // of norm_scale, norm_root, norm_inverse
    uint32_t normalise_steps;  // and of normalise
    uint32_t table_beats;
    uint16_t channels;
    uint16_t in_beats;   // of a row of int16
    uint16_t out_beats;  // of a row of int8
    uint16_t round_steps;
    uint8_t slots;
    uint8_t rounds;  // in which the slots arrive, four a round
    uint8_t shift;
    uint8_t turn_rows;  // rows of each tensor that are written in turn
};

// GATE.
struct GateJob {
    uint32_t logits;  // of all tokens, with the padding of their rows
    uint16_t tokens;  // that decide
    uint16_t rows;    // records
    uint8_t experts;
    uint8_t steps;  // logits of a row with its padding
    uint8_t top_k;
    uint8_t over_all;   // weights relative to all experts
    uint8_t per_image;  // all records are those of row 0
};

// UPSAMPLE2X, OUTPUT_*: a map that becomes larger.
struct MapJob {
    uint32_t corners;     // that `neighbours` gives
    uint32_t give_steps;  // of them for an output row
    uint16_t out_rows;
    uint16_t height;
    uint16_t width;
    uint16_t channels;
    uint16_t pixel_beats;  // of a pixel in memory
    uint16_t used_beats;   // with channels that are used
    uint16_t load_steps;   // beats of a row of the map
    uint8_t mode;          // RowMode
    uint8_t factor;
    uint8_t wide;
};

// LOAD_PATCHES. A strip is a row of patches; a piece is a patch's share of a frame row.
struct PatchJob {
    uint32_t give_steps;  // of a strip
    uint16_t strips;
    uint16_t columns;      // patches of a strip
    uint16_t strip_bytes;  // 3 * patch * width; 32768 is the largest
    uint16_t row_bytes;    // 3 * width
    uint8_t patch;
    uint8_t piece_bytes;  // 3 * patch
    uint8_t piece_steps;
    uint8_t flush_steps;
};

// Beats of the result image.
struct ResultJob {
    uint32_t steps;  // pixels with the padding of the last line
    uint32_t pixels;
    uint8_t two_bytes;
};

struct RowJob {
    uint8_t mode;  // RowMode
    Rows source;   // through tokens
    Rows slots0;
    Rows slots1;
    Rows slots2;
    Rows slots3;
    Rows table;  // through residual
    Rows frame;
    Rows target;   // through results
    Rows updated;  // LAYERNORM with slots: the residual rows, in front of the target's
    Rows image;    // through result_pixels
    Rows nothing;
    uint32_t source_beats;
    uint32_t table_beats;
    uint32_t target_beats;  // of one tensor, or of both
    NormJob norm;
    GateJob gate;
    MapJob upsample;
    MapJob classes;
    MapJob depth;
    MapJob map;
    PatchJob patches;
    ResultJob result;
};

}  // namespace m3vit

#endif
