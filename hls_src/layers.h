// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// LINEAR, CONV3X3 and EXPERTS: a walk over chunks of weights. While a chunk is
// computed with, the one after it is loaded, be it of the same layer, of the
// next expert with tokens in its queue, or of the next instruction.
#ifndef M3VIT_LAYERS_H
#define M3VIT_LAYERS_H

#include "chip.h"
#include "gather.h"
#include "store.h"
#include "weight_stream.h"

namespace m3vit {

// Upper bound of the walk: one group of rows per chunk, two layers per expert.
constexpr int MAX_CHUNKS = static_cast<int>(MAX_EXPERTS) * 2 * (MAX_OUTPUTS / WEIGHT_PORTS);

inline bool has_layers(const Instruction &in) {
    return in.opcode == OP_LINEAR || in.opcode == OP_CONV3X3 || in.opcode == OP_EXPERTS;
}

// The first expert from `expert` on that has tokens, or `experts`.
inline uint32_t next_expert(const Queues &queues, uint32_t expert, uint32_t experts) {
    uint32_t found = experts;
NEXT_EXPERT:
    for (uint32_t e = 0; e < MAX_EXPERTS; ++e) {
#pragma HLS PIPELINE II = 1
        if (found == experts && e >= expert && e < experts &&
            queues.first[e] != queues.first[e + 1]) {
            found = e;
        }
    }
    return found;
}

// Where a layer's weight rows begin and how long they are.
inline Chunk layer_start(const Instruction &in, uint32_t expert, bool second) {
    const uint32_t map_lines = in.opcode == OP_CONV3X3 ? 9 : 1;
    const uint32_t first_lines = map_lines * lines_of(in.cols_in);
    Chunk chunk;
    chunk.valid = true;
    chunk.beat = in.weights;
    chunk.first_output = 0;
    chunk.groups = 0;
    chunk.lines = static_cast<int>(first_lines);
    chunk.has_table = in.activation == ACTIVATION_GELU;
    chunk.table = in.table;
    chunk.expert = expert;
    chunk.second = second;
    if (in.opcode == OP_EXPERTS) {
        chunk.beat += expert * in.expert_beats;
        chunk.has_table = !second;
        chunk.table += expert * (256 / BEAT);
        if (second) {
            chunk.beat += divide_up(in.hidden, WEIGHT_PORTS) * (1 + LINE_BEATS * first_lines);
            chunk.lines = static_cast<int>(lines_of(in.hidden));
        }
    }
    return chunk;
}

inline uint32_t layer_outputs(const Instruction &in, bool second) {
    return in.opcode == OP_EXPERTS && !second ? in.hidden : in.cols_out;
}

// The first chunk of an instruction; not valid if it has no weights or they are
// not known yet (a GATE before it fills the queues).
inline Chunk first_chunk(const Instruction &in, const Queues &queues) {
    uint32_t expert = 0;
    bool valid = has_layers(in);
    if (in.opcode == OP_EXPERTS) {
        expert = next_expert(queues, 0, in.experts);
        valid = expert < in.experts;
    }
    Chunk chunk = layer_start(in, expert, false);
    const int groups = static_cast<int>(divide_up(layer_outputs(in, false), WEIGHT_PORTS));
    chunk.valid = valid;
    if (valid) chunk.groups = minimum(chunk_groups(chunk.lines), groups);
    return chunk;
}

// The chunk after `chunk` within the instruction.
inline Chunk following_chunk(const Instruction &in, const Queues &queues, const Chunk &chunk) {
    uint32_t done = chunk.first_output / WEIGHT_PORTS + chunk.groups;
    Chunk next = chunk;
    next.beat += static_cast<uint32_t>(chunk.groups) * (1 + LINE_BEATS * chunk.lines);
    next.has_table = chunk.has_table;
    if (done == divide_up(layer_outputs(in, chunk.second), WEIGHT_PORTS)) {
        uint32_t expert = chunk.expert;
        if (in.opcode != OP_EXPERTS) {
            next.valid = false;
        } else if (chunk.second) {
            expert = next_expert(queues, chunk.expert + 1, in.experts);
            next.valid = expert < in.experts;
        }
        if (!next.valid) return next;
        next = layer_start(in, expert, !chunk.second);
        done = 0;
    }
    const int left =
        static_cast<int>(divide_up(layer_outputs(in, next.second), WEIGHT_PORTS) - done);
    next.first_output = done * WEIGHT_PORTS;
    next.groups = minimum(chunk_groups(next.lines), left);
    return next;
}

// What the engine has to do for a chunk.
inline Layer layer_of(const Instruction &in, const Queues &queues, const Chunk &chunk) {
    Layer layer;
    layer.source = in.opcode == OP_CONV3X3 ? SOURCE_MAP : SOURCE_ROWS;
    layer.sink = static_cast<Sink>(in.store);
    layer.activation = in.activation;
    layer.rows = in.opcode == OP_CONV3X3 ? in.height * in.width : in.rows;
    layer.channels = in.cols_in;
    layer.src = in.src;
    layer.src_stride = in.src_stride;
    layer.dst = in.dst;
    layer.dst_stride = in.dst_stride;
    layer.outputs = layer_outputs(in, chunk.second);
    layer.queue = 0;
    layer.height = in.height;
    layer.width = in.width;
    layer.pad = static_cast<int8_t>(in.pad);
    if (in.opcode == OP_EXPERTS) {
        layer.queue = queues.first[chunk.expert];
        layer.rows = queues.first[chunk.expert + 1] - layer.queue;
        if (chunk.second) {
            layer.sink = SINK_GATED;
            layer.channels = in.hidden;
            layer.src = in.scratch;
            layer.src_stride = in.scratch_stride;
        } else {
            layer.source = SOURCE_QUEUE;
            layer.sink = SINK_ACT8;
            layer.activation = ACTIVATION_GELU;
            layer.dst = in.scratch;
            layer.dst_stride = in.scratch_stride;
        }
    }
    return layer;
}

// Three stages next to each other: tile i is gathered while tile i - 1 is
// multiplied and the results of tile i - 2 are stored.
inline void tile_step(const Layer &layer, const Chunk &chunk, int i, int tiles,
                      const WeightTile &weights, TokenTile &gathered, const TokenTile &tokens,
                      ResultTile &products, const ResultTile &results, const Queues &queues,
                      int8_t act[ACT_LINES][LINE], int16_t residual[RESIDUAL_ELEMENTS],
                      int32_t scores[SCORE_ELEMENTS]) {
    const int rows = static_cast<int>(layer.rows);
    cycles::Fork fork;
    if (i < tiles) {
        const int first = i * TOKENS_PAR;
        gather_tile(act, queues.token, layer, first, minimum(rows - first, TOKENS_PAR), gathered);
    }
    fork.branch();
    if (i >= 1 && i <= tiles) {
        const int first = (i - 1) * TOKENS_PAR;
        matrix_tile(tokens.line, 0, weights.line, 0, chunk.lines, chunk.groups,
                    minimum(rows - first, TOKENS_PAR), static_cast<int>(chunk.first_output % LINE),
                    products.column);
        cycles::engine(matrix_cycles(chunk.lines, chunk.groups));
    }
    fork.branch();
    if (i >= 2) {
        const int first = (i - 2) * TOKENS_PAR;
        const int outputs = minimum(WEIGHT_PORTS * chunk.groups,
                                    static_cast<int>(layer.outputs - chunk.first_output));
        store_tile(layer, first, minimum(rows - first, TOKENS_PAR), results, weights,
                   chunk.first_output, outputs, queues, act, residual, scores);
    }
    fork.branch();
    fork.join();
}

// All tokens of a layer with one chunk of its weights, which lie in `half`.
inline void compute_chunk(const Layer &layer, const Chunk &chunk, const WeightTile &weights,
                          int half) {
    cycles::Mark mark;
    const int tiles = static_cast<int>(divide_up(layer.rows, TOKENS_PAR));
TILES:
    for (int i = 0; i < minimum(tiles, MAX_ROWS / TOKENS_PAR) + 2; ++i) {
        if (i % 2 == 0) {
            tile_step(layer, chunk, i, tiles, weights, chip::tokens_ping, chip::tokens_pong,
                      chip::results_pong, chip::results_ping, chip::queues, chip::act,
                      chip::residual, chip::scores);
        } else {
            tile_step(layer, chunk, i, tiles, weights, chip::tokens_pong, chip::tokens_ping,
                      chip::results_ping, chip::results_pong, chip::queues, chip::act,
                      chip::residual, chip::scores);
        }
    }
    mark.computed(half, chunk.expert, chunk.second);
}

// Compute with one half of the ping-pong while the other half is filled.
inline void chunk_step(const Layer &layer, const Chunk &chunk, const WeightTile &weights, int half,
                       const Chunk &next, WeightTile &filled, int other, const Beat *weights0,
                       const Beat *weights1, const Beat *weights2, const Beat *weights3) {
    cycles::Fork fork;
    load_chunk(weights0, weights1, weights2, weights3, next, filled, other);
    const uint64_t loading = fork.branch();
    compute_chunk(layer, chunk, weights, half);
    const uint64_t computing = fork.branch();
    fork.join();
    if (loading > computing) cycles::wait(loading - computing);
}

// The state of the weight ping-pong between instructions.
struct WeightStream {
    bool pong;    // the half that the next chunk to compute is in
    bool primed;  // it is there already
};

// LINEAR, CONV3X3 or EXPERTS. `next` is the instruction behind it, whose first
// weights are fetched during the last chunk of this one.
inline void run_layers(const Instruction &in, const Instruction &next, WeightStream &stream,
                       const Beat *weights0, const Beat *weights1, const Beat *weights2,
                       const Beat *weights3) {
    Chunk chunk = first_chunk(in, chip::queues);
    if (chunk.valid && !stream.primed) {
        cycles::Fork exposed;
        load_chunk(weights0, weights1, weights2, weights3, chunk,
                   stream.pong ? chip::weights_pong : chip::weights_ping,
                   stream.pong ? PONG : PING);
        cycles::wait(exposed.branch());
        exposed.join();
    }
    bool prefetched = false;
CHUNKS:
    for (int step = 0; step < MAX_CHUNKS; ++step) {
        if (!chunk.valid) break;
        const Layer layer = layer_of(in, chip::queues, chunk);
        const Chunk after = following_chunk(in, chip::queues, chunk);
        Chunk load = after;
        if (!after.valid) load = first_chunk(next, chip::queues);
        if (stream.pong) {
            chunk_step(layer, chunk, chip::weights_pong, PONG, load, chip::weights_ping, PING,
                       weights0, weights1, weights2, weights3);
        } else {
            chunk_step(layer, chunk, chip::weights_ping, PING, load, chip::weights_pong, PONG,
                       weights0, weights1, weights2, weights3);
        }
        stream.pong = !stream.pong;
        prefetched = load.valid;
        chunk = after;
    }
    stream.primed = prefetched;
}

}  // namespace m3vit

#endif
