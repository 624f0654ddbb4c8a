// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// Accumulators to lines of outputs.
//
//   in   job; chunks; two streams with a Chunk per chunk
//        parameters_a, parameters_b, tables   as load_parameters
//        results_a   Result: tile, step: outputs 4g, 4g + 1    (not in ATTENTION)
//        results_b   Result: tile, step: outputs 4g + 2, 4g + 3;
//                    in ATTENTION all outputs: tile, head, step
//        scales      Scales: tile, head                        (ATTENTION)
//        gates       Gates: tile                               (EXPERTS_DOWN)
//   out  finished    Line: tile, line of the chunk, token 0 ... T - 1; channels behind
//                    the outputs are 0
//
// T x OH lanes take one step of one engine per cycle: outputs ascend. Each token has a
// shift register of 64 bytes, entered by 8 bytes at a time. Full lines move to holding
// registers, from which they leave one per cycle while the next ones fill.
#ifndef M3VIT_FINISH_H
#define M3VIT_FINISH_H

#include "finish_lanes.h"
#include "results.h"

namespace m3vit {

constexpr int FRONT = 8;  // bytes that enter a line together

static_assert(LINE / (4 * OH) >= T, "lines of scores leave before the next are full");

// OH outputs of BYTES bytes each into the front register.
template <int BYTES>
inline Bytes<FRONT> entered(const Bytes<FRONT> &front, const int32_t values[OH]) {
#pragma HLS INLINE
    Bytes<BYTES * OH> next = zeros<BYTES * OH>();
    for (int o = 0; o < OH; ++o) {
#pragma HLS UNROLL
        for (int b = 0; b < BYTES; ++b) {
#pragma HLS UNROLL
            set_byte(next, o * BYTES + b,
                     static_cast<uint8_t>((static_cast<uint32_t>(values[o]) >> (8 * b)) & 0xff));
        }
    }
    return shift_in<FRONT, BYTES * OH>(front, next);
}

inline void finish(const MatrixJob job, Stream<Chunk> &descriptors,
                   const ParameterWord parameters[PARAMETER_WORDS],
                   const TableWord activation[TABLE_WORDS], Stream<Result> &results_a,
                   Stream<Result> &results_b, Stream<Scales> &scales, Stream<Gates> &gates,
                   Stream<Line> &finished) {
    const Chunk chunk = descriptors.read();
    const LaneControl control = lane_control(job);
    const int element = 1 << element_shift(job);
    const bool is_table = job.activation == ACTIVATION_GELU;
    const bool has_table = is_table && chunk.tiles != 0;
    const bool is_activated = element == 1 && !control.is_attention;
    const bool is_relu = job.activation == ACTIVATION_RELU;
    const int outputs = chunk.outputs;
    const int arriving = control.is_attention ? outputs : (outputs + 3) / 4 * 4;
    const int channels = (chunk_lines(job, chunk) * LINE) >> element_shift(job);  // padded
    const int front_steps = element == 1   ? FRONT / OH
                            : element == 2 ? FRONT / (2 * OH)
                                           : FRONT / (4 * OH);
    const int last_front = front_steps - 1;
    const int last_channel = channels - OH;
    const int last_of_head = job.head_dim - OH;
    const int tiles = chunk.tiles;
    const int total =
        tiles != 0 ? counted<UNIT_BITS, STEP_BITS>(chunk.tiles, channels / OH) + T : 0;

    TableWord table[T * OH][TABLE_WORDS];
#pragma HLS ARRAY_PARTITION variable = table dim = 1 complete
#pragma HLS BIND_STORAGE variable = table type = ram_s2p impl = lutram
    const int table_words = has_table ? TABLE_WORDS : 0;
TABLES:
    for (int i = 0; i < table_words; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
        const TableWord word = activation[i];
        for (int lane = 0; lane < T * OH; ++lane) {
#pragma HLS UNROLL
            table[lane][i] = word;
        }
    }

    Bytes<FRONT> front[T];
#pragma HLS ARRAY_PARTITION variable = front complete
    Line lines[T];
#pragma HLS ARRAY_PARTITION variable = lines complete
    Line held[T];
#pragma HLS ARRAY_PARTITION variable = held complete
CLEAR:
    for (int t = 0; t < T; ++t) {
#pragma HLS UNROLL
        front[t] = zeros<FRONT>();
        lines[t] = zeros<LINE>();
        held[t] = zeros<LINE>();
    }
    Scales scale = zeros<QUERY_BYTES>();
    Gates gate = Gates();
#pragma HLS AGGREGATE variable = gate
    int tile = 0;
    int channel = 0;       // of the chunk
    int head_channel = 0;  // of the head
    int front_step = 0;    // how full the front registers are
    int front_count = 0;   // and how full the lines
    int leaving = T;       // which held line leaves next
FINISH:
    for (int i = 0; i < total; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
        const bool is_working = tile < tiles;
        const bool is_arriving = is_working && channel < arriving;
        const bool is_b = control.is_attention || (channel & 2) != 0;
        if (is_working && channel == 0 && control.is_gated) gate = gates.read();
        if (is_arriving && head_channel == 0 && control.is_attention) scale = scales.read();
        Result result = zeros<RESULT_BYTES>();
        if (is_arriving) {
            if (is_b) {
                result = results_b.read();
            } else {
                result = results_a.read();
            }
        }
        const ParameterWord word = parameters[static_cast<unsigned>(channel) / OH];

        if (leaving < T) {
            finished.write(held[leaving]);
            ++leaving;
        }

        const bool is_front = front_step == last_front;
        const bool is_line = is_front && front_count == LINE / FRONT - 1;
        for (int t = 0; t < T; ++t) {
#pragma HLS UNROLL
            int32_t values[OH];
#pragma HLS ARRAY_PARTITION variable = values complete
            for (int o = 0; o < OH; ++o) {
#pragma HLS UNROLL
                Parameter parameter = zeros<PARAMETER_BYTES>();
                set_word(parameter, 0, word_at(word, 2 * o));
                set_word(parameter, 1, word_at(word, 2 * o + 1));
                const int32_t plain =
                    finish_lane(control, static_cast<int32_t>(word_at(result, t * OH + o)),
                                parameter, word_at(scale, t), gate.gate[t]);
                const uint8_t index = static_cast<uint8_t>((plain & 255) ^ 128);  // of int8
                const TableWord eight = table[t * OH + o][index >> 3];
                const int32_t looked_up = static_cast<int8_t>(byte_at(eight, index & 7));
                const int32_t active = !is_activated            ? plain
                                       : is_table               ? looked_up
                                       : (is_relu && plain < 0) ? 0
                                                                : plain;
                values[o] = channel + o < outputs ? active : 0;
            }
            const Bytes<FRONT> next = element == 1   ? entered<1>(front[t], values)
                                      : element == 2 ? entered<2>(front[t], values)
                                                     : entered<4>(front[t], values);
            const Line longer = shift_in<LINE, FRONT>(lines[t], next);
            if (is_working) {
                front[t] = next;
                if (is_front) lines[t] = longer;
                if (is_line) held[t] = longer;
            }
        }

        if (is_working) {
            if (is_line) leaving = 0;
            if (is_front) front_count = is_line ? 0 : front_count + 1;
            front_step = is_front ? 0 : front_step + 1;
            head_channel = head_channel == last_of_head ? 0 : head_channel + OH;
            if (channel == last_channel) {
                channel = 0;
                head_channel = 0;
                ++tile;
            } else {
                channel += OH;
            }
        }
    }
}

// Chunks one after the other: while one is finished the parameters of the next arrive.
inline void finish_unit(const MatrixJob job, uint32_t chunks, Stream<Chunk> &parameter_chunks,
                        Stream<Chunk> &finish_chunks, Stream<Bytes<BEAT>> &parameters_a,
                        Stream<Bytes<BEAT>> &parameters_b, Stream<Line> &tables,
                        Stream<Result> &results_a, Stream<Result> &results_b,
                        Stream<Scales> &scales, Stream<Gates> &gates, Stream<Line> &finished) {
CHUNKS:
    for (uint32_t c = 0; c < chunks; ++c) {
#pragma HLS DATAFLOW
        ParameterWord parameters[PARAMETER_WORDS];
#pragma HLS BIND_STORAGE variable = parameters type = ram_s2p impl = bram
        TableWord activation[TABLE_WORDS];
#pragma HLS BIND_STORAGE variable = activation type = ram_s2p impl = lutram
        load_parameters(job, parameter_chunks, parameters_a, parameters_b, tables, parameters,
                        activation);
        finish(job, finish_chunks, parameters, activation, results_a, results_b, scales, gates,
               finished);
    }
}

}  // namespace m3vit

#endif
