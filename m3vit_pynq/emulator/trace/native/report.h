// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// What a network did, as JSON for Python.
#ifndef M3VIT_TRACE_REPORT_H
#define M3VIT_TRACE_REPORT_H

#include <string>

#include "network.h"

namespace m3vit {
namespace trace {

// Settings of a library: memory, and depths of pipelines by the numbers of loops.
struct Settings {
    MemoryShape shape;
};

Settings &settings();

// Runs what the recorder holds and adds it to `report`, a JSON object; false if it
// cannot go on.
bool run_recorded(std::string &report, bool with_processes);

}  // namespace trace
}  // namespace m3vit

// For Python. `real`: interval, dram_interval; `whole`: beat_bytes, request, answer.
extern "C" void m3vit_trace_configure(const double *real, const uint32_t *whole,
                                      const uint32_t *ports, uint32_t masters,
                                      const uint32_t *depths, uint32_t loops, uint64_t limit);

#endif
