// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// The switches around the engines: what a mode sends where. One loop per chunk; in a pass
// only one of two inputs, or of two outputs, is ever used.
//
//   select_words    words of the layer's weights, or of the transposed values -> engine B
//   select_tokens   lines, or probabilities -> engine B
//   split_results   accumulators of engine A -> finish, or scores -> softmax
#ifndef M3VIT_SELECT_H
#define M3VIT_SELECT_H

#include "results.h"

namespace m3vit {

inline void select_words(const MatrixJob job, uint32_t chunks, Stream<Chunk> &descriptors,
                         Stream<Word> &layer, Stream<Word> &turned, Stream<Word> &words) {
    const bool is_attention = job.mode == MODE_ATTENTION;
// sequential: a chunk's length comes with it
CHUNKS:
    for (uint32_t c = 0; c < chunks; ++c) {
        const Chunk chunk = descriptors.read();
        const EngineShape shape = engine_shape<true>(job, chunk);
        const int steps = is_attention ? chunk.outputs / OH : shape.steps;
        const int total =
            shape.units != 0 ? counted<STEP_BITS, PIECE_BITS>(steps, shape.pieces) : 0;
    WORDS:
        for (int i = 0; i < total; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
            Word word = zeros<IN_PAR * OH>();
            if (is_attention) {
                word = turned.read();
            } else {
                word = layer.read();
            }
            words.write(word);
        }
    }
}

inline void select_tokens(const MatrixJob job, uint32_t chunks, Stream<Chunk> &descriptors,
                          Stream<Piece> &lines, Stream<Piece> &probabilities,
                          Stream<Piece> &tokens) {
    const bool is_attention = job.mode == MODE_ATTENTION;
// sequential: a chunk's length comes with it
CHUNKS:
    for (uint32_t c = 0; c < chunks; ++c) {
        const Chunk chunk = descriptors.read();
        const EngineShape shape = engine_shape<true>(job, chunk);
        const int row = T * (shape.passes == 2 ? 2 * shape.pieces : shape.pieces);
        const int total = counted<UNIT_BITS, STEP_BITS>(shape.units, row);
    PIECES_OF_CHUNK:
        for (int i = 0; i < total; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
            Piece piece = zeros<IN_PAR>();
            if (is_attention) {
                piece = probabilities.read();
            } else {
                piece = lines.read();
            }
            tokens.write(piece);
        }
    }
}

inline void split_results(const MatrixJob job, uint32_t chunks, Stream<Chunk> &descriptors,
                          Stream<Result> &results, Stream<Result> &outputs,
                          Stream<Result> &scores) {
    const bool is_attention = job.mode == MODE_ATTENTION;
// sequential: a chunk's length comes with it
CHUNKS:
    for (uint32_t c = 0; c < chunks; ++c) {
        const Chunk chunk = descriptors.read();
        const EngineShape shape = engine_shape<false>(job, chunk);
        const int total = counted<UNIT_BITS, STEP_BITS>(shape.units, shape.steps);
    RESULTS:
        for (int i = 0; i < total; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
            const Result result = results.read();
            if (is_attention) {
                scores.write(result);
            } else {
                outputs.write(result);
            }
        }
    }
}

}  // namespace m3vit

#endif
