// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// Runs one process of the arithmetic half of the matrix pass per request.
//
// A request on standard input is a list of byte arrays: the process's name, its job as
// "name value" lines, then the contents of its input streams. The answer on standard
// output is a list of byte arrays: the contents of its output streams, then one byte that
// says whether anything was left in an input stream. Lists and arrays begin with their
// length, a uint32.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sstream>
#include <string>
#include <vector>

#include "engine.h"
#include "finish.h"
#include "merge.h"
#include "reorder.h"
#include "select.h"
#ifndef M3VIT_NO_SOFTMAX
#include "inverse.h"
#include "softmax.h"
#include "transpose.h"
#endif

namespace {

using namespace m3vit;
using Blob = std::vector<uint8_t>;
using Blobs = std::vector<Blob>;

MatrixJob job_of(const Blob &text) {
    MatrixJob job;
    memset(&job, 0, sizeof job);
    std::istringstream lines(std::string(text.begin(), text.end()));
    std::string name;
    long value = 0;
    while (lines >> name >> value) {
#define FIELD(field) \
    if (name == #field) job.field = static_cast<decltype(job.field)>(value);
        FIELD(mode)
        FIELD(store)
        FIELD(activation)
        FIELD(planar)
        FIELD(passes)
        FIELD(shift_a)
        FIELD(shift_b)
        FIELD(mult_a)
        FIELD(mult_b)
        FIELD(rows)
        FIELD(tiles)
        FIELD(outputs)
        FIELD(heads)
        FIELD(head_dim)
        FIELD(chunks)
#undef FIELD
    }
    return job;
}

// An item as bytes of the request; words of an HLS tool hold more than those.
template <typename Item>
struct Layout {
    static constexpr size_t SIZE = sizeof(Item);
    static void load(Item &item, const uint8_t *bytes) { memcpy(&item, bytes, SIZE); }
    static void store(const Item &item, uint8_t *bytes) { memcpy(bytes, &item, SIZE); }
};
#ifndef __BAMBU__
template <typename Item>
bool is_empty(const Stream<Item> &stream) {
    return stream.empty();
}
#else
template <typename Item>
bool is_empty(const Stream<Item> &stream) {
    return stream.debug_size() == 0;
}
template <int BITS>
struct Layout<ap_uint<BITS>> {
    static constexpr size_t SIZE = BITS / 8;
    static void load(ap_uint<BITS> &item, const uint8_t *bytes) {
        item = 0;
        for (size_t i = 0; i < SIZE; ++i) set_byte(item, static_cast<int>(i), bytes[i]);
    }
    static void store(const ap_uint<BITS> &item, uint8_t *bytes) {
        for (size_t i = 0; i < SIZE; ++i) bytes[i] = byte_at(item, static_cast<int>(i));
    }
};
#endif

// Streams that are filled from the request's arrays and checked for leftovers.
class Request {
public:
    explicit Request(const Blobs &blobs) : blobs_(blobs), next_(2), left_(false) {}

    template <typename Item>
    void pour(Stream<Item> &stream) {
        const Blob &blob = blobs_.at(next_++);
        push(blob, stream);
    }
    template <typename Item>
    void repeat(Stream<Item> &stream) {  // the array that was poured last, once more
        push(blobs_.at(next_ - 1), stream);
    }
    template <typename Item>
    void used(const Stream<Item> &stream) {
        left_ = left_ || !is_empty(stream);
    }
    template <typename Item>
    void drain(Stream<Item> &stream) {
        Blob blob;
        while (!is_empty(stream)) {
            const Item item = stream.read();
            uint8_t bytes[Layout<Item>::SIZE];
            Layout<Item>::store(item, bytes);
            blob.insert(blob.end(), bytes, bytes + sizeof bytes);
        }
        answer.push_back(blob);
    }
    void end() { answer.push_back(Blob(1, left_ ? 1 : 0)); }

    Blobs answer;

private:
    template <typename Item>
    void push(const Blob &blob, Stream<Item> &stream) {
        constexpr size_t SIZE = Layout<Item>::SIZE;
        if (blob.size() % SIZE != 0) abort();
        for (size_t at = 0; at < blob.size(); at += SIZE) {
            Item item;
            Layout<Item>::load(item, blob.data() + at);
            stream.write(item);
        }
    }

    const Blobs &blobs_;
    size_t next_;
    bool left_;
};

// Packed products that differ, over every pair of tokens and every weight.
uint32_t wrong_products() {
    uint32_t wrong = 0;
    for (int token1 = -128; token1 < 256; ++token1) {
        for (int token0 = -128; token0 < 256; ++token0) {
            for (int weight = -128; weight < 128; ++weight) {
                Int<board::MULTIPLIER_BITS> tokens[CHAIN] = {};
                Int<8> weights[CHAIN] = {};
                tokens[0] = packed_tokens(token1, token0);
                weights[0] = weight;
                Int<HIGH_BITS> high;
                Int<LOW_BITS> low;
                UInt<1> has_borrowed;
                unpacked(packed_sum(tokens, weights), high, low, has_borrowed);
                wrong += high + has_borrowed != token1 * weight || low != token0 * weight;
            }
        }
    }
    return wrong;
}

template <bool SECOND>
void run_engine(Request &request, const MatrixJob &job) {
    Stream<Chunk> fill_chunks, compute_chunks;
    Stream<Word> words;
    Stream<Piece> tokens;
    Stream<Result> results;
    request.pour(fill_chunks);
    request.repeat(compute_chunks);
    request.pour(words);
    request.pour(tokens);
    engine_half<SECOND>(job, job.chunks, fill_chunks, compute_chunks, words, tokens, results);
    request.used(fill_chunks);
    request.used(compute_chunks);
    request.used(words);
    request.used(tokens);
    request.drain(results);
}

void run_select_words(Request &request, const MatrixJob &job) {
    Stream<Chunk> chunks;
    Stream<Word> layer, turned, words;
    request.pour(chunks);
    request.pour(layer);
    request.pour(turned);
    select_words(job, job.chunks, chunks, layer, turned, words);
    request.used(chunks);
    request.used(layer);
    request.used(turned);
    request.drain(words);
}

void run_select_tokens(Request &request, const MatrixJob &job) {
    Stream<Chunk> chunks;
    Stream<Piece> lines, probabilities, tokens;
    request.pour(chunks);
    request.pour(lines);
    request.pour(probabilities);
    select_tokens(job, job.chunks, chunks, lines, probabilities, tokens);
    request.used(chunks);
    request.used(lines);
    request.used(probabilities);
    request.drain(tokens);
}

void run_split_results(Request &request, const MatrixJob &job) {
    Stream<Chunk> chunks;
    Stream<Result> results, outputs, scores;
    request.pour(chunks);
    request.pour(results);
    split_results(job, job.chunks, chunks, results, outputs, scores);
    request.used(chunks);
    request.used(results);
    request.drain(outputs);
    request.drain(scores);
}

void run_finish(Request &request, const MatrixJob &job) {
    Stream<Chunk> parameter_chunks, finish_chunks;
    Stream<Bytes<BEAT>> parameters_a, parameters_b;
    Stream<Line> tables, finished;
    Stream<Result> results_a, results_b;
    Stream<Scales> scales;
    Stream<Gates> gates;
    request.pour(parameter_chunks);
    request.repeat(finish_chunks);
    request.pour(parameters_a);
    request.pour(parameters_b);
    request.pour(tables);
    request.pour(results_a);
    request.pour(results_b);
    request.pour(scales);
    request.pour(gates);
    finish_unit(job, job.chunks, parameter_chunks, finish_chunks, parameters_a, parameters_b,
                tables, results_a, results_b, scales, gates, finished);
    request.used(parameter_chunks);
    request.used(finish_chunks);
    request.used(parameters_a);
    request.used(parameters_b);
    request.used(tables);
    request.used(results_a);
    request.used(results_b);
    request.used(scales);
    request.used(gates);
    request.drain(finished);
}

void run_reorder(Request &request, const MatrixJob &job) {
    Stream<Chunk> chunks;
    Stream<Line> finished, ordered;
    request.pour(chunks);
    request.pour(finished);
    reorder(job, job.chunks, chunks, finished, ordered);
    request.used(chunks);
    request.used(finished);
    request.drain(ordered);
}

void run_merge(Request &request, const MatrixJob &job) {
    Stream<Chunk> chunks;
    Stream<Line> ordered, residual_lines, stored;
    request.pour(chunks);
    request.pour(ordered);
    request.pour(residual_lines);
    merge(job, job.chunks, chunks, ordered, residual_lines, stored);
    request.used(chunks);
    request.used(ordered);
    request.used(residual_lines);
    request.drain(stored);
}

#ifndef M3VIT_NO_SOFTMAX
void run_softmax(Request &request, const MatrixJob &job) {
    Stream<Result> scores;
    Stream<Piece> probabilities;
    Stream<Sums> sums;
    request.pour(scores);
    softmax(job, scores, probabilities, sums);
    request.used(scores);
    request.drain(probabilities);
    request.drain(sums);
}

void run_invert(Request &request, const MatrixJob &job) {
    Stream<Sums> sums;
    Stream<Scales> scales;
    request.pour(sums);
    invert_sums(job, sums, scales);
    request.used(sums);
    request.drain(scales);
}

void run_transpose(Request &request, const MatrixJob &job) {
    Stream<PortBeat> values;
    Stream<Word> turned;
    request.pour(values);
    transpose(job, values, turned);
    request.used(values);
    request.drain(turned);
}
#endif

Blobs answered(const Blobs &blobs) {
    const std::string name(blobs.at(0).begin(), blobs.at(0).end());
    const MatrixJob job = job_of(blobs.at(1));
    Request request(blobs);
    if (name == "products") {
        const uint32_t wrong = wrong_products();
        const uint8_t *bytes = reinterpret_cast<const uint8_t *>(&wrong);
        request.answer.push_back(Blob(bytes, bytes + sizeof wrong));
    } else if (name == "engine_a") {
        run_engine<false>(request, job);
    } else if (name == "engine_b") {
        run_engine<true>(request, job);
    } else if (name == "select_words") {
        run_select_words(request, job);
    } else if (name == "select_tokens") {
        run_select_tokens(request, job);
    } else if (name == "split_results") {
        run_split_results(request, job);
    } else if (name == "finish") {
        run_finish(request, job);
    } else if (name == "reorder") {
        run_reorder(request, job);
    } else if (name == "merge") {
        run_merge(request, job);
#ifndef M3VIT_NO_SOFTMAX
    } else if (name == "softmax") {
        run_softmax(request, job);
    } else if (name == "invert") {
        run_invert(request, job);
    } else if (name == "transpose") {
        run_transpose(request, job);
#endif
    } else {
        fprintf(stderr, "no process %s\n", name.c_str());
        exit(2);
    }
    request.end();
    return request.answer;
}

bool read_number(uint32_t &number) { return fread(&number, sizeof number, 1, stdin) == 1; }

}  // namespace

int main() {
    uint32_t count = 0;
    while (read_number(count)) {
        Blobs blobs(count);
        for (Blob &blob : blobs) {
            uint32_t size = 0;
            if (!read_number(size)) return 1;
            blob.resize(size);
            if (size != 0 && fread(blob.data(), 1, size, stdin) != size) return 1;
        }
        const Blobs answer = answered(blobs);
        const uint32_t parts = static_cast<uint32_t>(answer.size());
        fwrite(&parts, sizeof parts, 1, stdout);
        for (const Blob &blob : answer) {
            const uint32_t size = static_cast<uint32_t>(blob.size());
            fwrite(&size, sizeof size, 1, stdout);
            if (size != 0) fwrite(blob.data(), 1, size, stdout);
        }
        fflush(stdout);
    }
    return 0;
}
