// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// Small networks whose time is known by hand, in the form of hls_src.
#include <stdint.h>

#include "channels.h"

namespace m3vit {

using trace::Port;
using trace::Stream;

inline void produce(int count, Stream<int> &out) {
PRODUCE:
    for (int i = 0; i < count; ++i) {
#pragma HLS PIPELINE II = 1
        out.write(i);
    }
}

inline void consume(int count, Stream<int> &in) {
CONSUME:
    for (int i = 0; i < count; ++i) {
#pragma HLS PIPELINE II = 1
        in.read();
    }
}

inline void consume_slowly(int count, Stream<int> &in) {
SLOWLY:
    for (int i = 0; i < count; ++i) {
#pragma HLS PIPELINE II = 3
        in.read();
    }
}

// Every third iteration has a word.
inline void produce_rarely(int count, Stream<int> &out) {
RARELY:
    for (int i = 0; i < 3 * count; ++i) {
#pragma HLS PIPELINE II = 1
        if (i % 3 == 2) out.write(i);
    }
}

inline void slow_consumer(int count) {
#pragma HLS DATAFLOW
    Stream<int> words("words");
#pragma HLS STREAM variable = words depth = 4
    produce(count, words);
    consume_slowly(count, words);
}

inline void rare_producer(int count) {
#pragma HLS DATAFLOW
    Stream<int> words("words");
#pragma HLS STREAM variable = words depth = 4
    produce_rarely(count, words);
    consume(count, words);
}

inline void shallow_stream(int count) {
#pragma HLS DATAFLOW
    Stream<int> words("words");
#pragma HLS STREAM variable = words depth = 1
    produce(count, words);
    consume(count, words);
}

inline void fork(int count, Stream<int> &first, Stream<int> &second) {
FORK:
    for (int i = 0; i < count; ++i) {
#pragma HLS PIPELINE II = 1
        first.write(i);
        second.write(i);
    }
}

// All of `first` before any of `second`.
inline void join(int count, Stream<int> &first, Stream<int> &second) {
JOIN:
    for (int i = 0; i < 2 * count; ++i) {
#pragma HLS PIPELINE II = 1
        if (i < count) {
            first.read();
        } else {
            second.read();
        }
    }
}

constexpr int WAITING = 20;

inline void paths_that_join(int count) {
#pragma HLS DATAFLOW
    Stream<int> first("first");
#pragma HLS STREAM variable = first depth = 2
    Stream<int> second("second");
#pragma HLS STREAM variable = second depth = WAITING
    fork(count, first, second);
    join(count, first, second);
}

// A word for every word, through a pipeline of many stages.
inline void deep(int count, Stream<int> &in, Stream<int> &out) {
DEEP:
    for (int i = 0; i < count; ++i) {
#pragma HLS PIPELINE II = 1
        out.write(in.read());
    }
}

inline void deep_flushed(int count, Stream<int> &in, Stream<int> &out) {
DEEP_FLUSHED:
    for (int i = 0; i < count; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
        out.write(in.read());
    }
}

// Word k of `later` is read before word k + 1 of `waiting`.
inline void pair(int count, Stream<int> &later, Stream<int> &waiting) {
PAIR:
    for (int i = 0; i < count; ++i) {
#pragma HLS PIPELINE II = 1
        later.read();
        waiting.read();
    }
}

inline void stalled_pipeline(int count) {
#pragma HLS DATAFLOW
    Stream<int> early("early");
    Stream<int> waiting("waiting");
    Stream<int> later("later");
#pragma HLS STREAM variable = early depth = 2
#pragma HLS STREAM variable = waiting depth = 4
#pragma HLS STREAM variable = later depth = 2
    fork(count, early, waiting);
    deep(count, early, later);
    pair(count, later, waiting);
}

inline void flushed_pipeline(int count) {
#pragma HLS DATAFLOW
    Stream<int> early("early");
    Stream<int> waiting("waiting");
    Stream<int> later("later");
#pragma HLS STREAM variable = early depth = 2
#pragma HLS STREAM variable = waiting depth = 4
#pragma HLS STREAM variable = later depth = 2
    fork(count, early, waiting);
    deep_flushed(count, early, later);
    pair(count, later, waiting);
}

inline void flushed_alone(int count) {
#pragma HLS DATAFLOW
    Stream<int> in("in");
#pragma HLS STREAM variable = in depth = 8
    Stream<int> out("out");
#pragma HLS STREAM variable = out depth = 8
    produce(count, in);
    deep_flushed(count, in, out);
    consume_slowly(count, out);
}

inline void fill(int steps, int half[1]) {
FILL:
    for (int i = 0; i < steps; ++i) {
#pragma HLS PIPELINE II = 1
        half[0] = i;
    }
}

inline void use(int steps, const int half[1], Stream<int> &out) {
    int sum = 0;
USE:
    for (int i = 0; i < steps; ++i) {
#pragma HLS PIPELINE II = 1
        sum += half[0];
    }
    out.write(sum);
}

inline void chunks_of(int chunks, int fill_steps, int use_steps, Stream<int> &out) {
CHUNKS:
    for (int c = 0; c < chunks; ++c) {
#pragma HLS DATAFLOW
        int half[1];
        fill(fill_steps, half);
        use(use_steps, half, out);
    }
}

inline void pingpong(int chunks, int fill_steps, int use_steps) {
#pragma HLS DATAFLOW
    Stream<int> sums("sums");
#pragma HLS STREAM variable = sums depth = 2
    chunks_of(chunks, fill_steps, use_steps, sums);
    consume(chunks, sums);
}

inline void read_burst(int count, Port<int> port) {
    port.read_request(0, static_cast<uint32_t>(count));
READ:
    for (int i = 0; i < count; ++i) {
#pragma HLS PIPELINE II = 1
        port.read();
    }
}

inline void write_burst(int count, Port<int> port) {
    port.write_request(0, static_cast<uint32_t>(count));
WRITE:
    for (int i = 0; i < count; ++i) {
#pragma HLS PIPELINE II = 1
        port.write(i);
    }
    port.write_response();
}

inline void one_reader(int count, Port<int> first) {
#pragma HLS DATAFLOW
    read_burst(count, first);
}

inline void two_readers(int count, Port<int> first, Port<int> second) {
#pragma HLS DATAFLOW
    read_burst(count, first);
    read_burst(count, second);
}

inline void one_writer(int count, Port<int> first) {
#pragma HLS DATAFLOW
    write_burst(count, first);
}

}  // namespace m3vit
