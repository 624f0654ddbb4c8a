// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
#include "networks.h"

#include "report.h"

using namespace m3vit;

namespace {

std::string text;
int memory[1 << 16];

}  // namespace

extern "C" const char *run_network(int which, int a, int b, int c) {
    text.clear();
    trace::recorder().begin();
    try {
        switch (which) {
        case 0: slow_consumer(a); break;
        case 1: shallow_stream(a); break;
        case 2: paths_that_join(a); break;
        case 3: stalled_pipeline(a); break;
        case 4: flushed_pipeline(a); break;
        case 5: pingpong(a, b, c); break;
        case 6: one_reader(a, Port<int>(memory, 0)); break;
        case 7: two_readers(a, Port<int>(memory, 0), Port<int>(memory, 1)); break;
        case 8: two_readers(a, Port<int>(memory, 0), Port<int>(memory, 2)); break;
        case 9: one_writer(a, Port<int>(memory, 0)); break;
        case 10: flushed_alone(a); break;
        default: rare_producer(a); break;
        }
        trace::run_recorded(text, true);
    } catch (const trace::TooLong &) {
        text = "\"too long\"";
    }
    return text.c_str();
}

// A chain of `stages` loops of `count` iterations, joined by streams: each takes a word
// and gives one. `shape`: interval, whether it is flushed, and depth of the stream behind
// it, by stage. Depths of pipelines are those that were configured for loops 0, 1, ...
extern "C" const char *run_chain(int stages, int count, const int *shape) {
    trace::Recorder &recorder = trace::recorder();
    text.clear();
    recorder.begin();
    for (int s = 0; s + 1 < stages; ++s) {
        recorder.channel("stream", static_cast<uint32_t>(shape[3 * s + 2]));
    }
    for (int s = 0; s < stages; ++s) {
        const uint32_t stage = static_cast<uint32_t>(s);
        recorder.process("stage");
        recorder.enter(stage, static_cast<uint32_t>(shape[3 * s]), shape[3 * s + 1] != 0);
        for (int i = 0; i < count; ++i) {
            const trace::Step step;
            if (s > 0) recorder.act(trace::READ, stage - 1);
            if (s + 1 < stages) recorder.act(trace::WRITE, stage);
        }
    }
    trace::run_recorded(text, true);
    return text.c_str();
}
