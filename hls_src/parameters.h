// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// Parameters of a chunk's outputs and the table of its activation, on their way into one
// half of a ping-pong while `finish` works with the other.
//
//   in   job; a Chunk per chunk
//        parameters_a  Bytes<16>: group, part 0 then 1       (not in ATTENTION)
//        parameters_b  Bytes<16>: group, part 2 then 3
//        tables        Line: 4 lines of 256 int8, if the activation is GELU
//   out  parameters    [output / OH]: OH times bias (4 bytes), multiplier (2), shift (1)
//        activation    [index / 8]: eight results
#ifndef M3VIT_PARAMETERS_H
#define M3VIT_PARAMETERS_H

#include "pieces.h"
#include "shapes.h"

namespace m3vit {

constexpr int PARAMETER_BYTES = 8;
constexpr int PARAMETER_WORDS = 4 * CHUNK_GROUPS / OH;
constexpr int TABLE_WORDS = 256 / 8;

using Parameter = Bytes<PARAMETER_BYTES>;           // of one output
using ParameterWord = Bytes<PARAMETER_BYTES * OH>;  // of the outputs of one step
using TableWord = Bytes<8>;

inline void load_parameters(const MatrixJob job, Stream<Chunk> &descriptors,
                            Stream<Bytes<BEAT>> &parameters_a, Stream<Bytes<BEAT>> &parameters_b,
                            Stream<Line> &tables, ParameterWord parameters[PARAMETER_WORDS],
                            TableWord activation[TABLE_WORDS]) {
    const Chunk chunk = descriptors.read();
    const bool has_table = job.activation == ACTIVATION_GELU && chunk.tiles != 0;
    const bool has_rows = job.mode != MODE_ATTENTION && chunk.tiles != 0;
    const int table_words = has_table ? TABLE_WORDS : 0;
    const int outputs = has_rows ? (chunk.outputs + 3) / 4 * 4 : 0;

    Line line = zeros<LINE>();
TABLE:
    for (int i = 0; i < table_words; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
        if ((i & 7) == 0) line = tables.read();
        activation[i] = bottom<LINE, 8>(line);
        line = shift_out<LINE, 8>(line);
    }

    ParameterWord word = zeros<PARAMETER_BYTES * OH>();
PARAMETERS:
    for (int i = 0; i < outputs; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
        Bytes<BEAT> beat = zeros<BEAT>();
        if ((i & 2) == 0) {
            beat = parameters_a.read();
        } else {
            beat = parameters_b.read();
        }
        word = shift_in<PARAMETER_BYTES * OH, PARAMETER_BYTES>(word,
                                                               bottom<BEAT, PARAMETER_BYTES>(beat));
        if (i % OH == OH - 1) parameters[i / OH] = word;
    }
}

}  // namespace m3vit

#endif
