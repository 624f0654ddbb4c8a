// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// Memory as the processes see it: adapters of the AXI masters, ports of the processing
// system that several masters share, and DRAM behind all of them.
//
// A run is cut into bursts at BURST_BEATS beats and at PAGE bytes. A read burst is sent
// when its adapter has room for its beats and fewer than OUTSTANDING are under way; a
// write burst when its beats are there; an adapter sends one a cycle. Bursts are served in the
// order in which they are sent. A port moves a beat in `interval` cycles; DRAM takes
// `dram_interval` cycles for the bytes of a beat.
#ifndef M3VIT_TRACE_MEMORY_H
#define M3VIT_TRACE_MEMORY_H

#include <cstdint>
#include <deque>
#include <vector>

#include "record.h"

namespace m3vit {
namespace trace {

using Time = uint64_t;
constexpr Time NEVER = ~Time(0);  // or not known yet

struct MemoryShape {
    uint32_t beat_bytes = 16;
    double interval = 1.0;
    double dram_interval = 0.0;
    Time request = 40;            // cycles from a burst's address to DRAM
    Time answer = 60;             // and from there to its first beat, or its response
    std::vector<uint32_t> ports;  // PS port of each master
};

class Adapter {
public:
    explicit Adapter(const MemoryShape &shape);

    // When an action can be done, NEVER as long as that is unknown; then doing it.
    Time ready(Action action) const;
    void act(Action action, Time time, const Request *request);

    // When the next burst can be sent.
    Time next_read() const;
    Time next_write() const;
    // Serve it: `port` and `dram` say from when they are free.
    void serve_read(double &port, double &dram);
    void serve_write(double &port, double &dram);

    uint64_t beats_read() const { return read_.taken; }
    uint64_t beats_written() const { return write_.taken; }

private:
    static constexpr uint32_t BURST_BEATS = 16;
    static constexpr uint32_t OUTSTANDING = 16;
    static constexpr uint32_t BUFFER = BURST_BEATS * OUTSTANDING;  // beats
    static constexpr uint32_t PAGE = 4096;

    struct Run {
        Time asked;
        uint64_t beat;
        uint32_t left;  // beats that no burst has
    };
    struct Arrival {
        double first;  // time of its first beat
        uint32_t beats;
    };
    // One direction. Times in rings: of the process's beats, of bursts that are done.
    struct Side {
        std::deque<Run> runs;
        uint64_t sent = 0;   // beats in bursts
        uint64_t taken = 0;  // beats that the process read or wrote
        uint64_t bursts = 0;
        uint64_t runs_sent = 0;
        uint64_t runs_asked = 0;
        Time last_sent = 0;
        Time beat_time[BUFFER] = {};  // reads: taken by the process; writes: given by it
        Time drained[BUFFER] = {};    // writes: left for memory
        Time burst_done[OUTSTANDING] = {};
        Time run_sent[OUTSTANDING] = {};
    };

    uint32_t burst_length(const Run &run) const;
    Time room_for_request(const Side &side) const;
    Time next(const Side &side, bool is_read) const;
    Time take_burst(Side &side, bool is_read, uint32_t &beats);

    const MemoryShape &shape_;
    Side read_;
    Side write_;
    std::deque<Arrival> arrivals_;
    uint32_t arrived_taken_ = 0;  // beats of the first arrival
    std::deque<Time> responses_;
    bool run_is_done_ = false;  // by the burst that was taken last
};

class Memory {
public:
    explicit Memory(const MemoryShape &shape);

    Adapter &adapter(uint32_t master) { return adapters_[master]; }
    uint32_t masters() const { return static_cast<uint32_t>(adapters_.size()); }
    // Serves all bursts that are sent before `horizon`; whether there were any.
    bool serve(Time horizon);
    // Whether a burst waits for its time only.
    bool is_pending() const;

private:
    MemoryShape shape_;
    std::deque<Adapter> adapters_;
    std::vector<double> read_free_;  // by PS port
    std::vector<double> write_free_;
    double dram_free_ = 0;
};

}  // namespace trace
}  // namespace m3vit

#endif
