// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// Runs one process of the front half of the matrix pass.
//
// Request: name, instruction, part_lines (uint32), bank, then what is in its input
// streams. Answer: the bank, then what it wrote to its output streams. What is left in
// an input stream stops the bench.
#include "front_io.h"
#include "matrix_job.h"
#include "plan_results.h"
#include "read_residual.h"
#include "read_tokens.h"
#include "read_weights.h"
#include "share_chunks.h"
#include "split_tokens.h"
#include "walk.h"
#include "widen.h"
#include "window.h"
#include "write_rows.h"

using namespace m3vit;

namespace {

template <typename T>
struct In : Stream<T> {
    explicit In(const Blob &blob) {
        for (size_t at = 0; at < blob.size(); at += sizeof(T)) {
            T item;
            memcpy(&item, blob.data() + at, sizeof item);
            this->write(item);
        }
    }
};

template <typename T>
Blob contents(Stream<T> &stream) {
    Blob blob;
    while (!stream.empty()) {
        const Blob item = bytes_of(stream.read());
        blob.insert(blob.end(), item.begin(), item.end());
    }
    return blob;
}

Blob job_numbers(const MatrixJob &job) {
    const uint32_t numbers[] = {
        job.mode,    job.store,      job.activation, job.planar,       job.passes,
        job.rows,    job.row_lines,  job.k_lines,    job.outputs,      job.out_lines,
        job.experts, job.src_stride, job.dst_stride, job.first_groups, job.chunk_groups,
        job.chunks,  job.tiles,      job.last_rows,  job.slot_lines,   job.layer_chunks,
    };
    return bytes_of(numbers);
}

Blobs run(const std::string &name, const MatrixJob &job, PortBeat *bank, const Blobs &in) {
    if (name == "job") return {job_numbers(job)};
    if (name == "walk") {
        Stream<PlacedChunk> placed;
        Stream<uint32_t> sources, targets;
        Stream<Gates> gates;
        walk(job, bank, placed, sources, targets, gates);
        return {contents(placed), contents(sources), contents(targets), contents(gates)};
    }
    if (name == "share_chunks") {
        In<PlacedChunk> placed(in[0]);
        Stream<Run> runs[4];
        Stream<uint32_t> starts[2];
        Stream<Chunk> c[17];
        share_chunks(job, placed, runs[0], runs[1], runs[2], runs[3], starts[0], starts[1], c[0],
                     c[1], c[2], c[3], c[4], c[5], c[6], c[7], c[8], c[9], c[10], c[11], c[12],
                     c[13], c[14], c[15], c[16]);
        Blobs out;
        for (Stream<Run> &each : runs) out.push_back(contents(each));
        for (Stream<uint32_t> &each : starts) out.push_back(contents(each));
        for (Stream<Chunk> &each : c) out.push_back(contents(each));
        return out;
    }
    if (name == "read_lines") {
        In<Runs> counts(in[0]);
        In<Run> runs(in[1]);
        Stream<Line> lines;
        read_lines(static_cast<uint32_t>(in[0].size() / sizeof(Runs)), bank, counts, runs, lines);
        return {contents(lines)};
    }
    if (name == "write_lines") {
        In<Runs> counts(in[0]);
        In<Run> runs(in[1]);
        In<Line> lines(in[2]);
        write_lines(static_cast<uint32_t>(in[0].size() / sizeof(Runs)), bank, counts, runs, lines);
        return {};
    }
    if (name == "read_weights") {
        In<Run> runs(in[0]);
        Stream<PortBeat> beats;
        read_weights<2>(static_cast<uint32_t>(in[0].size() / sizeof(Run) / 2), bank, runs, beats);
        return {contents(beats)};
    }
    if (name == "widen_a") {
        In<Chunk> chunks(in[0]);
        In<PortBeat> even(in[1]), odd(in[2]);
        Stream<Word> words;
        Stream<Bytes<BEAT>> parameters;
        Stream<Line> tables;
        widen_a(job, chunks, even, odd, words, parameters, tables);
        return {contents(words), contents(parameters), contents(tables)};
    }
    if (name == "widen_b") {
        In<Chunk> chunks(in[0]);
        In<PortBeat> even(in[1]), odd(in[2]);
        Stream<Word> words;
        Stream<Bytes<BEAT>> parameters;
        Stream<PortBeat> values;
        widen_b(job, chunks, even, odd, words, parameters, values);
        return {contents(words), contents(parameters), contents(values)};
    }
    if (name == "plan_tokens") {
        In<Chunk> chunks(in[0]);
        In<uint32_t> starts(in[1]), sources(in[2]);
        Stream<Runs> counts;
        Stream<Run> runs;
        plan_tokens(job, chunks, starts, sources, counts, runs);
        return {contents(counts), contents(runs)};
    }
    if (name == "plan_results") {
        In<Chunk> chunks(in[0]);
        In<uint32_t> starts(in[1]), targets(in[2]);
        Stream<Runs> counts, residual_counts;
        Stream<Run> runs, residual_runs;
        plan_results(job, chunks, starts, targets, counts, runs, residual_counts, residual_runs);
        return {contents(counts), contents(runs), contents(residual_counts),
                contents(residual_runs)};
    }
    if (name == "window") {
        In<Chunk> chunks(in[0]);
        In<Line> lines(in[1]);
        Stream<Line> windows;
        window(job, chunks, lines, windows);
        return {contents(windows)};
    }
    if (name == "split_tokens") {
        In<Chunk> chunks(in[0]);
        In<Line> windows(in[1]);
        Stream<Piece> lines_a, lines_b;
        split_tokens(job, chunks, windows, lines_a, lines_b);
        return {contents(lines_a), contents(lines_b)};
    }
    abort();
}

}  // namespace

int main() {
    Blobs in;
    while (read_blobs(in)) {
        const std::string name(in[0].begin(), in[0].end());
        uint32_t words[INSTRUCTION_WORDS];
        uint32_t part_lines = 0;
        memcpy(words, in[1].data(), sizeof words);
        memcpy(&part_lines, in[2].data(), 4);
        const MatrixJob job = make_matrix_job(decode_instruction(words), part_lines);
        std::vector<PortBeat> bank(in[3].size() / PORT_BYTES);
        if (!bank.empty()) memcpy(bank.data(), in[3].data(), in[3].size());
        Blobs out = run(name, job, bank.data(), Blobs(in.begin() + 4, in.end()));
        if (!bank.empty()) memcpy(in[3].data(), bank.data(), in[3].size());
        out.insert(out.begin(), in[3]);
        write_blobs(out);
    }
    return 0;
}
