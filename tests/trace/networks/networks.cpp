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
