// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// The matrix pass: LINEAR, CONV3X3, ATTENTION, EXPERTS_UP and EXPERTS_DOWN, one
// instruction a call. A dataflow region: every process runs always, with counts of 0
// where a mode does not need it; streams have one writer and one reader; nothing feeds
// back.
//
//   walk ─> share ─> all
//
//   weights 0, 1 ─> widen A ────────────────────────────────> engine A
//   weights 2, 3 ─> widen B ─> (transpose) ─> select words ─> engine B
//   tokens ─> window ─> split ──────────────────────────────> engine A
//                         └───────────────> select tokens ──> engine B
//   engine A ─> split results ─> softmax ─> select tokens
//   engines A, B ─> finish ─> reorder ─> merge ─> write
//   residual ──────────────────────────> merge
//
// Loops with streams are flushable pipelines (style = flp): what has been computed
// leaves although the next item has not come. Why the depths suffice:
//   chunks    every process has its copy of a chunk before anyone has the next
//   rows      sources, targets and gates hold the rows between the token reader and
//             the writer (4 T) and a group of runs
//   windows   one tile of the longest rows, which arrives while the one before is
//             multiplied, also across chunks
//   probabilities   one tile with two passes, likewise
//   lines     results that leave while the port asks for a group of runs
// The two long ones are block memories; the others are shift registers, whatever the
// tool would choose by itself.
#ifndef M3VIT_MATRIX_PASS_H
#define M3VIT_MATRIX_PASS_H

#include "engine.h"
#include "finish.h"
#include "inverse.h"
#include "matrix_job.h"
#include "merge.h"
#include "plan_results.h"
#include "read_residual.h"
#include "read_tokens.h"
#include "read_weights.h"
#include "reorder.h"
#include "select.h"
#include "share_chunks.h"
#include "softmax.h"
#include "split_tokens.h"
#include "transpose.h"
#include "walk.h"
#include "widen.h"
#include "window.h"
#include "write_rows.h"

namespace m3vit {

constexpr int CHUNKS_AHEAD = 8;  // chunks between the first process and the last
constexpr int ROWS_AHEAD = 128;  // rows between the walk and the writer
constexpr int TILES_AHEAD = 32;  // the same in tiles of the smallest T
constexpr int BEATS_AHEAD = 64;  // of one port
constexpr int WORDS_AHEAD = 16;
constexpr int PIECES_AHEAD = 16;
constexpr int RESULTS_AHEAD = 32;
constexpr int LINES_AHEAD = 32;  // of results, while a port asks for a group of runs
constexpr int TILE_LINES = T * static_cast<int>(MAX_K) / LINE;
constexpr int TILE_PROBABILITIES = 2 * T * (TOKEN_LIMIT / static_cast<int>(KEY_BLOCK)) * PIECES;

static_assert(ROWS_AHEAD >= 4 * T + 4 * RUN_GROUP, "the writer's rows fit");
static_assert(TILES_AHEAD >= ROWS_AHEAD / T, "and the gates of its tiles");

inline void matrix_pass(const MatrixJob job, Port<PortBeat> weights0, Port<PortBeat> weights1,
                        Port<PortBeat> weights2, Port<PortBeat> weights3, Port<PortBeat> tokens,
                        Port<PortBeat> residual, Port<PortBeat> records, Port<PortBeat> results) {
#pragma HLS DATAFLOW
    Stream<PlacedChunk> placed("placed");
#pragma HLS STREAM variable = placed depth = 4
#pragma HLS BIND_STORAGE variable = placed type = fifo impl = srl
    Stream<uint32_t> sources("sources");
#pragma HLS STREAM variable = sources depth = ROWS_AHEAD
#pragma HLS BIND_STORAGE variable = sources type = fifo impl = srl
    Stream<uint32_t> targets("targets");
#pragma HLS STREAM variable = targets depth = ROWS_AHEAD
#pragma HLS BIND_STORAGE variable = targets type = fifo impl = srl
    Stream<Gates> gates("gates");
#pragma HLS STREAM variable = gates depth = TILES_AHEAD
#pragma HLS BIND_STORAGE variable = gates type = fifo impl = srl

    Stream<Chunk> widen_a_chunks("widen_a_chunks");
#pragma HLS STREAM variable = widen_a_chunks depth = CHUNKS_AHEAD
#pragma HLS BIND_STORAGE variable = widen_a_chunks type = fifo impl = srl
    Stream<Chunk> widen_b_chunks("widen_b_chunks");
#pragma HLS STREAM variable = widen_b_chunks depth = CHUNKS_AHEAD
#pragma HLS BIND_STORAGE variable = widen_b_chunks type = fifo impl = srl
    Stream<Chunk> plan_tokens_chunks("plan_tokens_chunks");
#pragma HLS STREAM variable = plan_tokens_chunks depth = CHUNKS_AHEAD
#pragma HLS BIND_STORAGE variable = plan_tokens_chunks type = fifo impl = srl
    Stream<Chunk> window_chunks("window_chunks");
#pragma HLS STREAM variable = window_chunks depth = CHUNKS_AHEAD
#pragma HLS BIND_STORAGE variable = window_chunks type = fifo impl = srl
    Stream<Chunk> split_tokens_chunks("split_tokens_chunks");
#pragma HLS STREAM variable = split_tokens_chunks depth = CHUNKS_AHEAD
#pragma HLS BIND_STORAGE variable = split_tokens_chunks type = fifo impl = srl
    Stream<Chunk> fill_a_chunks("fill_a_chunks");
#pragma HLS STREAM variable = fill_a_chunks depth = CHUNKS_AHEAD
#pragma HLS BIND_STORAGE variable = fill_a_chunks type = fifo impl = srl
    Stream<Chunk> compute_a_chunks("compute_a_chunks");
#pragma HLS STREAM variable = compute_a_chunks depth = CHUNKS_AHEAD
#pragma HLS BIND_STORAGE variable = compute_a_chunks type = fifo impl = srl
    Stream<Chunk> select_words_chunks("select_words_chunks");
#pragma HLS STREAM variable = select_words_chunks depth = CHUNKS_AHEAD
#pragma HLS BIND_STORAGE variable = select_words_chunks type = fifo impl = srl
    Stream<Chunk> fill_b_chunks("fill_b_chunks");
#pragma HLS STREAM variable = fill_b_chunks depth = CHUNKS_AHEAD
#pragma HLS BIND_STORAGE variable = fill_b_chunks type = fifo impl = srl
    Stream<Chunk> compute_b_chunks("compute_b_chunks");
#pragma HLS STREAM variable = compute_b_chunks depth = CHUNKS_AHEAD
#pragma HLS BIND_STORAGE variable = compute_b_chunks type = fifo impl = srl
    Stream<Chunk> select_tokens_chunks("select_tokens_chunks");
#pragma HLS STREAM variable = select_tokens_chunks depth = CHUNKS_AHEAD
#pragma HLS BIND_STORAGE variable = select_tokens_chunks type = fifo impl = srl
    Stream<Chunk> split_results_chunks("split_results_chunks");
#pragma HLS STREAM variable = split_results_chunks depth = CHUNKS_AHEAD
#pragma HLS BIND_STORAGE variable = split_results_chunks type = fifo impl = srl
    Stream<Chunk> parameter_chunks("parameter_chunks");
#pragma HLS STREAM variable = parameter_chunks depth = CHUNKS_AHEAD
#pragma HLS BIND_STORAGE variable = parameter_chunks type = fifo impl = srl
    Stream<Chunk> finish_chunks("finish_chunks");
#pragma HLS STREAM variable = finish_chunks depth = CHUNKS_AHEAD
#pragma HLS BIND_STORAGE variable = finish_chunks type = fifo impl = srl
    Stream<Chunk> reorder_chunks("reorder_chunks");
#pragma HLS STREAM variable = reorder_chunks depth = CHUNKS_AHEAD
#pragma HLS BIND_STORAGE variable = reorder_chunks type = fifo impl = srl
    Stream<Chunk> merge_chunks("merge_chunks");
#pragma HLS STREAM variable = merge_chunks depth = CHUNKS_AHEAD
#pragma HLS BIND_STORAGE variable = merge_chunks type = fifo impl = srl
    Stream<Chunk> plan_results_chunks("plan_results_chunks");
#pragma HLS STREAM variable = plan_results_chunks depth = CHUNKS_AHEAD
#pragma HLS BIND_STORAGE variable = plan_results_chunks type = fifo impl = srl
    Stream<uint32_t> token_starts("token_starts");
#pragma HLS STREAM variable = token_starts depth = CHUNKS_AHEAD
#pragma HLS BIND_STORAGE variable = token_starts type = fifo impl = srl
    Stream<uint32_t> result_starts("result_starts");
#pragma HLS STREAM variable = result_starts depth = CHUNKS_AHEAD
#pragma HLS BIND_STORAGE variable = result_starts type = fifo impl = srl

    Stream<Run> runs0("runs0");
#pragma HLS STREAM variable = runs0 depth = 2 * CHUNKS_AHEAD
#pragma HLS BIND_STORAGE variable = runs0 type = fifo impl = srl
    Stream<Run> runs1("runs1");
#pragma HLS STREAM variable = runs1 depth = CHUNKS_AHEAD
#pragma HLS BIND_STORAGE variable = runs1 type = fifo impl = srl
    Stream<Run> runs2("runs2");
#pragma HLS STREAM variable = runs2 depth = CHUNKS_AHEAD
#pragma HLS BIND_STORAGE variable = runs2 type = fifo impl = srl
    Stream<Run> runs3("runs3");
#pragma HLS STREAM variable = runs3 depth = CHUNKS_AHEAD
#pragma HLS BIND_STORAGE variable = runs3 type = fifo impl = srl
    Stream<Runs> token_counts("token_counts");
#pragma HLS STREAM variable = token_counts depth = 4
#pragma HLS BIND_STORAGE variable = token_counts type = fifo impl = srl
    Stream<Run> token_runs("token_runs");
#pragma HLS STREAM variable = token_runs depth = 4 * RUN_GROUP
#pragma HLS BIND_STORAGE variable = token_runs type = fifo impl = srl
    Stream<Runs> result_counts("result_counts");
#pragma HLS STREAM variable = result_counts depth = 4
#pragma HLS BIND_STORAGE variable = result_counts type = fifo impl = srl
    Stream<Run> result_runs("result_runs");
#pragma HLS STREAM variable = result_runs depth = 4 * RUN_GROUP
#pragma HLS BIND_STORAGE variable = result_runs type = fifo impl = srl
    Stream<Runs> residual_counts("residual_counts");
#pragma HLS STREAM variable = residual_counts depth = 4
#pragma HLS BIND_STORAGE variable = residual_counts type = fifo impl = srl
    Stream<Run> residual_runs("residual_runs");
#pragma HLS STREAM variable = residual_runs depth = 4 * RUN_GROUP
#pragma HLS BIND_STORAGE variable = residual_runs type = fifo impl = srl
    Stream<PortBeat> beats0("beats0");
#pragma HLS STREAM variable = beats0 depth = BEATS_AHEAD
#pragma HLS BIND_STORAGE variable = beats0 type = fifo impl = srl
    Stream<PortBeat> beats1("beats1");
#pragma HLS STREAM variable = beats1 depth = BEATS_AHEAD
#pragma HLS BIND_STORAGE variable = beats1 type = fifo impl = srl
    Stream<PortBeat> beats2("beats2");
#pragma HLS STREAM variable = beats2 depth = BEATS_AHEAD
#pragma HLS BIND_STORAGE variable = beats2 type = fifo impl = srl
    Stream<PortBeat> beats3("beats3");
#pragma HLS STREAM variable = beats3 depth = BEATS_AHEAD
#pragma HLS BIND_STORAGE variable = beats3 type = fifo impl = srl
    Stream<Word> words_a("words_a");
#pragma HLS STREAM variable = words_a depth = WORDS_AHEAD
#pragma HLS BIND_STORAGE variable = words_a type = fifo impl = srl
    Stream<Word> words_b("words_b");
#pragma HLS STREAM variable = words_b depth = WORDS_AHEAD
#pragma HLS BIND_STORAGE variable = words_b type = fifo impl = srl
    Stream<PortBeat> values("values");
#pragma HLS STREAM variable = values depth = BEATS_AHEAD
#pragma HLS BIND_STORAGE variable = values type = fifo impl = srl
    Stream<Word> turned("turned");
#pragma HLS STREAM variable = turned depth = WORDS_AHEAD
#pragma HLS BIND_STORAGE variable = turned type = fifo impl = srl
    Stream<Word> engine_words_b("engine_words_b");
#pragma HLS STREAM variable = engine_words_b depth = WORDS_AHEAD
#pragma HLS BIND_STORAGE variable = engine_words_b type = fifo impl = srl
    Stream<Bytes<BEAT>> parameters_a("parameters_a");
#pragma HLS STREAM variable = parameters_a depth = WORDS_AHEAD
#pragma HLS BIND_STORAGE variable = parameters_a type = fifo impl = srl
    Stream<Bytes<BEAT>> parameters_b("parameters_b");
#pragma HLS STREAM variable = parameters_b depth = WORDS_AHEAD
#pragma HLS BIND_STORAGE variable = parameters_b type = fifo impl = srl
    Stream<Line> tables("tables");
#pragma HLS STREAM variable = tables depth = 8
#pragma HLS BIND_STORAGE variable = tables type = fifo impl = srl

    Stream<Line> token_lines("token_lines");
#pragma HLS STREAM variable = token_lines depth = PIECES_AHEAD
#pragma HLS BIND_STORAGE variable = token_lines type = fifo impl = srl
    Stream<Line> windows("windows");
#pragma HLS STREAM variable = windows depth = TILE_LINES
#pragma HLS BIND_STORAGE variable = windows type = fifo impl = bram
    Stream<Piece> lines_a("lines_a");
#pragma HLS STREAM variable = lines_a depth = PIECES_AHEAD
#pragma HLS BIND_STORAGE variable = lines_a type = fifo impl = srl
    Stream<Piece> lines_b("lines_b");
#pragma HLS STREAM variable = lines_b depth = PIECES_AHEAD
#pragma HLS BIND_STORAGE variable = lines_b type = fifo impl = srl
    Stream<Piece> tokens_b("tokens_b");
#pragma HLS STREAM variable = tokens_b depth = PIECES_AHEAD
#pragma HLS BIND_STORAGE variable = tokens_b type = fifo impl = srl
    Stream<Piece> probabilities("probabilities");
#pragma HLS STREAM variable = probabilities depth = TILE_PROBABILITIES
#pragma HLS BIND_STORAGE variable = probabilities type = fifo impl = bram
    Stream<Sums> sums("sums");
#pragma HLS STREAM variable = sums depth = 4
#pragma HLS BIND_STORAGE variable = sums type = fifo impl = srl
    Stream<Scales> scales("scales");
#pragma HLS STREAM variable = scales depth = 8
#pragma HLS BIND_STORAGE variable = scales type = fifo impl = srl

    Stream<Result> results_a("results_a");
#pragma HLS STREAM variable = results_a depth = RESULTS_AHEAD
#pragma HLS BIND_STORAGE variable = results_a type = fifo impl = srl
    Stream<Result> outputs_a("outputs_a");
#pragma HLS STREAM variable = outputs_a depth = RESULTS_AHEAD
#pragma HLS BIND_STORAGE variable = outputs_a type = fifo impl = srl
    Stream<Result> scores("scores");
#pragma HLS STREAM variable = scores depth = RESULTS_AHEAD
#pragma HLS BIND_STORAGE variable = scores type = fifo impl = srl
    Stream<Result> results_b("results_b");
#pragma HLS STREAM variable = results_b depth = RESULTS_AHEAD
#pragma HLS BIND_STORAGE variable = results_b type = fifo impl = srl
    Stream<Line> finished("finished");
#pragma HLS STREAM variable = finished depth = LINES_AHEAD
#pragma HLS BIND_STORAGE variable = finished type = fifo impl = srl
    Stream<Line> ordered("ordered");
#pragma HLS STREAM variable = ordered depth = LINES_AHEAD
#pragma HLS BIND_STORAGE variable = ordered type = fifo impl = srl
    Stream<Line> residual_lines("residual_lines");
#pragma HLS STREAM variable = residual_lines depth = LINES_AHEAD
#pragma HLS BIND_STORAGE variable = residual_lines type = fifo impl = srl
    Stream<Line> stored("stored");
#pragma HLS STREAM variable = stored depth = LINES_AHEAD
#pragma HLS BIND_STORAGE variable = stored type = fifo impl = srl

    walk(job, records, placed, sources, targets, gates);
    share_chunks(job, placed, runs0, runs1, runs2, runs3, token_starts, result_starts,
                 widen_a_chunks, widen_b_chunks, plan_tokens_chunks, window_chunks,
                 split_tokens_chunks, fill_a_chunks, compute_a_chunks, select_words_chunks,
                 fill_b_chunks, compute_b_chunks, select_tokens_chunks, split_results_chunks,
                 parameter_chunks, finish_chunks, reorder_chunks, merge_chunks,
                 plan_results_chunks);

    read_weights<2>(job.chunks, weights0, runs0, beats0);
    read_weights<1>(job.chunks, weights1, runs1, beats1);
    read_weights<1>(job.chunks, weights2, runs2, beats2);
    read_weights<1>(job.chunks, weights3, runs3, beats3);
    widen_a(job, widen_a_chunks, beats0, beats1, words_a, parameters_a, tables);
    widen_b(job, widen_b_chunks, beats2, beats3, words_b, parameters_b, values);
    transpose(job, values, turned);
    select_words(job, job.chunks, select_words_chunks, words_b, turned, engine_words_b);

    plan_tokens(job, plan_tokens_chunks, token_starts, sources, token_counts, token_runs);
    read_tokens(job.chunks, tokens, token_counts, token_runs, token_lines);
    window(job, window_chunks, token_lines, windows);
    split_tokens(job, split_tokens_chunks, windows, lines_a, lines_b);

    engine_half<false>(job, job.chunks, fill_a_chunks, compute_a_chunks, words_a, lines_a,
                       results_a);
    split_results(job, job.chunks, split_results_chunks, results_a, outputs_a, scores);
    softmax(job, scores, probabilities, sums);
    invert_sums(job, sums, scales);
    select_tokens(job, job.chunks, select_tokens_chunks, lines_b, probabilities, tokens_b);
    engine_half<true>(job, job.chunks, fill_b_chunks, compute_b_chunks, engine_words_b, tokens_b,
                      results_b);

    finish_unit(job, job.chunks, parameter_chunks, finish_chunks, parameters_a, parameters_b,
                tables, outputs_a, results_b, scales, gates, finished);
    reorder(job, job.chunks, reorder_chunks, finished, ordered);
    plan_results(job, plan_results_chunks, result_starts, targets, result_counts, result_runs,
                 residual_counts, residual_runs);
    read_residual(job.chunks, residual, residual_counts, residual_runs, residual_lines);
    merge(job, job.chunks, merge_chunks, ordered, residual_lines, stored);
    write_rows(job.chunks, results, result_counts, result_runs, stored);
}

}  // namespace m3vit

#endif
