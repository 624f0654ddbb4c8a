// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
#include "report.h"

namespace m3vit {
namespace trace {

namespace {

const char *const ACTION_NAMES[ACTIONS] = {"empty",
                                           "beat",
                                           "read request",
                                           "write request",
                                           "response",
                                           "no empty half",
                                           "no full half",
                                           "full",
                                           "write buffer",
                                           "",
                                           ""};

std::string quoted(const std::string &text) { return "\"" + text + "\""; }

std::string number(uint64_t value) { return std::to_string(value); }

bool is_memory(Action action) {
    return action == PORT_READ || action == REQUEST_READ || action == REQUEST_WRITE ||
           action == RESPONSE || action == PORT_WRITE;
}

// Cycles that a process stood still, by channel and reason.
std::string stalls(const Runner &one, const Recorder &from, uint32_t masters) {
    std::string text;
    for (uint32_t a = 0; a < ACTIONS; ++a) {
        const Action action = static_cast<Action>(a);
        const uint32_t count =
            is_memory(action) ? masters : static_cast<uint32_t>(from.channels.size());
        for (uint32_t c = 0; c < count; ++c) {
            const Time lost = one.stalled(action, c);
            if (lost == 0) continue;
            const std::string name = is_memory(action) ? number(c) : quoted(from.channels[c].name);
            text += (text.empty() ? "" : ",") + std::string("[") + quoted(ACTION_NAMES[a]) + "," +
                    name + "," + number(lost) + "]";
        }
    }
    return "[" + text + "]";
}

std::string calls(const Runner &one) {
    std::string text;
    for (const Call &call : one.calls()) {
        text += (text.empty() ? "[" : ",[") + number(call.start) + "," + number(call.end) + "," +
                number(call.writes) + "]";
    }
    return "[" + text + "]";
}

}  // namespace

Settings &settings() {
    static Settings the_ones;
    return the_ones;
}

bool run_recorded(std::string &report, bool with_processes) {
    const Recorder &from = recorder();
    Network network(from, settings().shape);
    std::string problem;
    const Time end = network.run(problem);
    report += "{\"cycles\":" + number(end == NEVER ? 0 : end);
    report += ",\"problem\":" + quoted(problem);
    if (with_processes) {
        std::string text;
        for (const Runner &one : network.runners()) {
            text += (text.empty() ? "{\"name\":" : ",{\"name\":") + quoted(one.process().name) +
                    ",\"end\":" + number(one.end()) + ",\"stalled\":" + number(one.stalled()) +
                    ",\"stalls\":" + stalls(one, from, network.memory().masters()) +
                    ",\"calls\":" + calls(one) + "}";
        }
        report += ",\"processes\":[" + text + "]";
    }
    std::string beats;
    for (uint32_t m = 0; m < network.memory().masters(); ++m) {
        const Adapter &adapter = network.memory().adapter(m);
        beats += (m == 0 ? "[" : ",[") + number(adapter.beats_read()) + "," +
                 number(adapter.beats_written()) + "]";
    }
    report += ",\"beats\":[" + beats + "]}";
    return problem.empty();
}

}  // namespace trace
}  // namespace m3vit

using namespace m3vit::trace;

extern "C" void m3vit_trace_configure(const double *real, const uint32_t *whole,
                                      const uint32_t *ports, uint32_t masters,
                                      const uint32_t *depths, uint32_t loops, uint64_t limit) {
    MemoryShape &shape = settings().shape;
    shape.interval = real[0];
    shape.dram_interval = real[1];
    shape.beat_bytes = whole[0];
    shape.request = whole[1];
    shape.answer = whole[2];
    shape.ports.assign(ports, ports + masters);
    recorder().depths.assign(depths, depths + loops);
    recorder().limit = limit;
}
