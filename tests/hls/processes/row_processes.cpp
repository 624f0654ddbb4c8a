// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// Bench of the row pass: one process at a time, its streams given and returned as arrays.
// Requests: name, instruction, then the process's inputs.
#include "../../../hls_src/row_pass.h"
#include "../../../hls_src/row_setup.h"
#include "front_io.h"

using namespace m3vit;

namespace {

template <typename T>
void fill(Stream<T> &stream, const Blob &blob) {
    if (blob.size() % sizeof(T) != 0) abort();
    for (size_t at = 0; at < blob.size(); at += sizeof(T)) {
        T item;
        memcpy(&item, blob.data() + at, sizeof item);
        stream.write(item);
    }
}

template <typename T>
Blob drain(Stream<T> &stream) {
    Blob blob;
    while (!stream.empty()) {
        const T item = stream.read();
        const uint8_t *bytes = reinterpret_cast<const uint8_t *>(&item);
        blob.insert(blob.end(), bytes, bytes + sizeof item);
    }
    return blob;
}

// A memory that starts where a port's word may.
struct Memory {
    std::vector<PortBeat> beats;
    explicit Memory(const Blob &blob) : beats(blob.size() / sizeof(PortBeat)) {
        memcpy(beats.data(), blob.data(), beats.size() * sizeof(PortBeat));
    }
    Blob blob() const {
        const uint8_t *bytes = reinterpret_cast<const uint8_t *>(beats.data());
        return Blob(bytes, bytes + beats.size() * sizeof(PortBeat));
    }
};

Blobs of_layernorm(const std::string &name, const RowJob &job, const Blobs &in) {
    if (name == "combine") {
        Stream<PortBeat> rows, slots0, slots1, slots2, slots3, completed, updated;
        fill(rows, in[2]);
        fill(slots0, in[3]);
        fill(slots1, in[4]);
        fill(slots2, in[5]);
        fill(slots3, in[6]);
        combine(job.norm, rows, slots0, slots1, slots2, slots3, completed, updated);
        return {drain(completed), drain(updated)};
    }
    if (name == "norm_stats") {
        Stream<PortBeat> completed, waiting;
        Stream<Moments> moments;
        fill(completed, in[2]);
        norm_stats(job.norm, completed, waiting, moments);
        return {drain(waiting), drain(moments)};
    }
    if (name == "norm_scale") {
        Stream<Moments> moments;
        Stream<Radicand> radicands;
        fill(moments, in[2]);
        norm_scale(job.norm, moments, radicands);
        return {drain(radicands)};
    }
    if (name == "norm_root") {
        Stream<Radicand> radicands;
        Stream<RowScale> roots;
        fill(radicands, in[2]);
        norm_root(job.norm, radicands, roots);
        return {drain(roots)};
    }
    if (name == "norm_inverse") {
        Stream<RowScale> roots, inverses;
        fill(roots, in[2]);
        norm_inverse(job.norm, roots, inverses);
        return {drain(inverses)};
    }
    if (name == "normalise") {
        Stream<PortBeat> table, waiting, normalised;
        Stream<RowScale> inverses;
        fill(table, in[2]);
        fill(waiting, in[3]);
        fill(inverses, in[4]);
        normalise(job.norm, table, waiting, inverses, normalised);
        return {drain(normalised)};
    }
    return {};
}

Blobs of_gate(const std::string &name, const RowJob &job, const Blobs &in) {
    if (name == "gate_select") {
        Stream<PortBeat> rows;
        Stream<int32_t> logits;
        Stream<Line> decisions;
        fill(rows, in[2]);
        gate_select(job.gate, rows, logits, decisions);
        return {drain(logits), drain(decisions)};
    }
    if (name == "gate_sum") {
        Stream<int32_t> logits;
        Stream<Line> decisions, decided;
        Stream<uint32_t> totals;
        fill(logits, in[2]);
        fill(decisions, in[3]);
        gate_sum(job.gate, logits, decisions, decided, totals);
        return {drain(decided), drain(totals)};
    }
    if (name == "gate_divide") {
        Stream<Line> decided;
        Stream<uint32_t> totals;
        Stream<PortBeat> entries;
        fill(decided, in[2]);
        fill(totals, in[3]);
        gate_divide(job.gate, decided, totals, entries);
        return {drain(entries)};
    }
    if (name == "gate_records") {
        Stream<PortBeat> entries, records;
        fill(entries, in[2]);
        gate_records(job.gate, entries, records);
        return {drain(records)};
    }
    return {};
}

Blobs of_map(const std::string &name, const RowJob &job, const Blobs &in) {
    if (name == "neighbours") {
        Stream<PortBeat> pixels;
        Stream<Corners> to_upsample, to_classes, to_depth;
        fill(pixels, in[2]);
        neighbours(job.map, pixels, to_upsample, to_classes, to_depth);
        return {drain(to_upsample), drain(to_classes), drain(to_depth)};
    }
    if (name == "upsample") {
        Stream<Corners> corners;
        Stream<PortBeat> upsampled;
        fill(corners, in[2]);
        upsample(job.upsample, corners, upsampled);
        return {drain(upsampled)};
    }
    if (name == "classes") {
        Stream<Corners> corners;
        Stream<uint8_t> ids;
        fill(corners, in[2]);
        classes(job.classes, corners, ids);
        return {drain(ids)};
    }
    if (name == "depth") {
        Stream<Corners> corners;
        Stream<uint16_t> distances;
        fill(corners, in[2]);
        depth(job.depth, corners, distances);
        return {drain(distances)};
    }
    if (name == "pack_result") {
        Stream<uint8_t> ids;
        Stream<uint16_t> distances;
        Stream<PortBeat> image;
        fill(ids, in[2]);
        fill(distances, in[3]);
        pack_result(job.result, ids, distances, image);
        return {drain(image)};
    }
    return {};
}

Blobs of_ports(const std::string &name, const RowJob &job, const Blobs &in) {
    if (name == "read_rows") {
        Memory bank(in[2]);
        const Rows every[6] = {job.source, job.slots0, job.slots1,
                               job.slots2, job.slots3, job.table};
        Blobs out;
        for (const Rows &rows : every) {
            Stream<PortBeat> beats;
            read_rows(rows, Port<PortBeat>(bank.beats.data()), beats);
            out.push_back(drain(beats));
        }
        return out;
    }
    if (name == "write_tensors") {
        Memory bank(in[2]);
        Stream<PortBeat> beats;
        fill(beats, in[3]);
        write_tensors(job.updated, job.target, beats, Port<PortBeat>(bank.beats.data()));
        return {bank.blob()};
    }
    if (name == "deal_rows" || name == "deal_table") {
        Stream<PortBeat> read, first, second, third;
        fill(read, in[2]);
        if (name == "deal_rows") {
            deal_rows(job.source_beats, job.mode, read, first, second, third);
        } else {
            deal_table(job.table_beats, job.mode, read, first, second);
        }
        return {drain(first), drain(second), drain(third)};
    }
    if (name == "collect") {
        Stream<PortBeat> sources[6];
        Stream<PortBeat> stored;
        for (int i = 0; i < 6; ++i) fill(sources[i], in[2 + i]);
        collect(job.target_beats, job.mode, job.norm, sources[0], sources[1], sources[2],
                sources[3], sources[4], sources[5], stored);
        return {drain(stored)};
    }
    if (name == "patches") {
        Stream<PortBeat> pixels, rows;
        fill(pixels, in[2]);
        patches(job.patches, pixels, rows);
        return {drain(rows)};
    }
    return {};
}

Blobs run(const Blobs &in) {
    const std::string name(in[0].begin(), in[0].end());
    uint32_t words[INSTRUCTION_WORDS];
    if (in[1].size() != sizeof words) abort();
    memcpy(words, in[1].data(), sizeof words);
    const RowJob job = make_row_job(decode_instruction(words));
    for (const auto &of : {of_layernorm, of_gate, of_map, of_ports}) {
        const Blobs out = of(name, job, in);
        if (!out.empty()) return out;
    }
    abort();
}

}  // namespace

int main() {
    Blobs in;
    while (read_blobs(in)) write_blobs(run(in));
    return 0;
}
