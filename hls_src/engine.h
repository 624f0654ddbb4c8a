// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// A half engine: weights of a chunk into one half of a ping-pong while the other half is
// multiplied with all tiles of tokens.
//
//   in   job; chunks; two streams with a Chunk per chunk
//        words    Word: weights in order of arrival (fill)
//        tokens   Piece: unit, token, piece; of probabilities unit, piece, pass, token
//   out  results  Result: unit, step
//
// A unit is a tile, in ATTENTION a tile and a head. With two passes a row has high and low
// digits: acc = 16 * (sum of high digits) + (sum of low digits), by one shift between them.
#ifndef M3VIT_ENGINE_H
#define M3VIT_ENGINE_H

#include "dot.h"
#include "results.h"

namespace m3vit {

// Puts the words of a chunk where `compute` reads them one after the other: word of step s
// and piece p at s * pieces + p. Three counters with a stride each follow the arrival:
//   layers, OH = 1      group, piece, part        of two parts that take turns
//   layers, OH = 2      group, piece              both parts in one word
//   keys                step, piece
//   values              key block, step, piece of the block
template <bool SECOND>
inline void fill(const MatrixJob job, Stream<Chunk> &descriptors, Stream<Word> &words,
                 Word weights[HALF_WORDS]) {
    const Chunk chunk = descriptors.read();
    const EngineShape shape = engine_shape<SECOND>(job, chunk);
    const bool is_attention = job.mode == MODE_ATTENTION;
    const bool is_values = SECOND && is_attention;
    const int turns = !is_attention && OH == 1 ? 2 : 1;
    const int steps = is_values ? chunk.outputs / OH : shape.steps;
    // Strides of the three counters, and lengths of the two inner ones.
    const int outer = is_values ? PIECES : turns == 2 ? 2 * shape.pieces : shape.pieces;
    const int middle = is_values ? shape.pieces : uint16_t(1);
    const int inner = is_values ? uint16_t(1) : shape.pieces;
    const int middle_count = is_values ? steps : shape.pieces;
    const int inner_count = is_values ? PIECES : turns;
    const int total = shape.units != 0 ? counted<STEP_BITS, PIECE_BITS>(steps, shape.pieces) : 0;

    int first = 0;   // address of the outer counter
    int second = 0;  // of outer and middle counter
    int address = 0;
    int i_middle = 0;
    int i_inner = 0;
FILL:
    for (int i = 0; i < total; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
        weights[address] = words.read();
        if (i_inner + 1 < inner_count) {
            ++i_inner;
            address += inner;
        } else {
            i_inner = 0;
            if (i_middle + 1 < middle_count) {
                ++i_middle;
                second += middle;
            } else {
                i_middle = 0;
                first += outer;
                second = first;
            }
            address = second;
        }
    }
}

// Cycles of a round: weights of a half with two passes, or a tile of tokens.
constexpr int SPAN_BITS = 13;
static_assert(2 * HALF_WORDS < (1 << SPAN_BITS) && T * ROW_PIECES + SETTLE < (1 << SPAN_BITS), "");

// One flat loop of rounds. In round u the tile of unit u is multiplied while that of u + 1
// arrives in the other half of the token memory; round -1 only loads.
template <bool SECOND>
inline void compute(const MatrixJob job, Stream<Chunk> &descriptors, Stream<Piece> &tokens,
                    const Word weights[HALF_WORDS], Stream<Result> &results) {
    const Chunk chunk = descriptors.read();
    const EngineShape shape = engine_shape<SECOND>(job, chunk);
    const bool is_probabilities = SECOND && job.mode == MODE_ATTENTION;
    const bool has_two_passes = shape.passes == 2;
    const int pieces = shape.pieces;
    const int row = has_two_passes ? 2 * pieces : pieces;
    const int load = T * row;
    const int mac = counted<STEP_BITS, PIECE_BITS>(shape.steps, row);
    const int shortest = load + SETTLE;
    const int span = mac > shortest ? mac : shortest;
    const int units = shape.units;
    const int total = units != 0 ? shortest + counted<UNIT_BITS, SPAN_BITS>(shape.units, span) : 0;

    Piece rows[T][2 * ROW_PIECES];
#pragma HLS ARRAY_PARTITION variable = rows dim = 1 complete
#pragma HLS BIND_STORAGE variable = rows type = ram_s2p impl = lutram
    int32_t acc[T][OH];
#pragma HLS ARRAY_PARTITION variable = acc dim = 0 complete
CLEAR:
    for (int t = 0; t < T; ++t) {
#pragma HLS UNROLL
        for (int o = 0; o < OH; ++o) {
#pragma HLS UNROLL
            acc[t][o] = 0;
        }
    }

    int unit = -1;  // the round
    int step = 0;   // iteration of the round
    int length = shortest;
    int part = 0;         // which part of the weights
    bool is_odd = false;  // half of the token memory that is read
    int to_token = 0;     // where the next arrival goes
    int to_piece = 0;
    bool to_low = false;
    int piece = 0;  // what is multiplied
    bool is_low = false;
    int address = 0;
    int start = 0;  // address of the row's first word
STEPS:
    for (int i = 0; i < total; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
#pragma HLS DEPENDENCE variable = rows type = inter dependent = false
        const bool is_loading = step < load && unit + 1 < units;
        const bool is_busy = unit >= 0 && step < mac;

        Piece arrived = zeros<IN_PAR>();
        if (is_loading) arrived = tokens.read();
        const int to = to_low ? pieces + to_piece : to_piece;
        const int put = is_odd ? to : ROW_PIECES + to;
        const int from = is_low ? pieces + piece : piece;
        const int get = is_odd ? ROW_PIECES + from : from;
        Piece operand[T];
#pragma HLS ARRAY_PARTITION variable = operand complete
        for (int t = 0; t < T; ++t) {
#pragma HLS UNROLL
            operand[t] = rows[t][get];
            if (is_loading && to_token == t) rows[t][put] = arrived;
        }

        int32_t sums[T][OH];
#pragma HLS ARRAY_PARTITION variable = sums dim = 0 complete
        dot(operand, weights[address], is_probabilities, sums);

        const bool is_row_end = piece + 1 == pieces;
        const bool is_result = is_row_end && (is_low || !has_two_passes);
        Result result = zeros<RESULT_BYTES>();
        for (int t = 0; t < T; ++t) {
#pragma HLS UNROLL
            for (int o = 0; o < OH; ++o) {
#pragma HLS UNROLL
                const int32_t before = piece != 0 ? acc[t][o] : is_low ? acc[t][o] * 16 : 0;
                const int32_t now = before + sums[t][o];
                if (is_busy) acc[t][o] = now;
                set_word(result, t * OH + o, static_cast<uint32_t>(now));
            }
        }
        if (is_busy && is_result) results.write(result);

        if (is_loading) {
            if (is_probabilities) {  // piece, pass, token
                if (to_token + 1 < T) {
                    ++to_token;
                } else {
                    to_token = 0;
                    if (has_two_passes && !to_low) {
                        to_low = true;
                    } else {
                        to_low = false;
                        ++to_piece;
                    }
                }
            } else {  // token, piece
                if (to_piece + 1 < pieces) {
                    ++to_piece;
                } else {
                    to_piece = 0;
                    ++to_token;
                }
            }
        }
        if (is_busy) {
            const bool is_unit_end = step + 1 == mac;
            if (!is_row_end) {
                ++piece;
                ++address;
            } else {
                piece = 0;
                is_low = has_two_passes && !is_low;
                if (!is_result) {
                    address = start;
                } else if (is_unit_end && part + 1 == shape.parts) {
                    address = 0;
                    start = 0;
                } else {
                    ++address;
                    start = address;
                }
            }
            if (is_unit_end) part = part + 1 == shape.parts ? 0 : part + 1;
        }
        if (step + 1 < length) {
            ++step;
        } else {
            step = 0;
            to_token = 0;
            to_piece = 0;
            to_low = false;
            is_odd = !is_odd;
            length = span;
            ++unit;
        }
    }
}

// Chunks one after the other: while one is multiplied the next is filled in.
template <bool SECOND>
inline void engine_half(const MatrixJob job, uint32_t chunks, Stream<Chunk> &fill_chunks,
                        Stream<Chunk> &compute_chunks, Stream<Word> &words, Stream<Piece> &tokens,
                        Stream<Result> &results) {
CHUNKS:
    for (uint32_t c = 0; c < chunks; ++c) {
#pragma HLS DATAFLOW
        Word weights[HALF_WORDS];
#ifdef M3VIT_URAM
#pragma HLS BIND_STORAGE variable = weights type = ram_s2p impl = uram
#else
#pragma HLS BIND_STORAGE variable = weights type = ram_s2p impl = bram
#endif
#ifdef M3VIT_BLOCKS
#pragma HLS ARRAY_PARTITION variable = weights block factor = board::BLOCKS
#endif
        fill<SECOND>(job, fill_chunks, words, weights);
        compute<SECOND>(job, compute_chunks, tokens, weights, results);
    }
}

}  // namespace m3vit

#endif
