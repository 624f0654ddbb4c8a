// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
#include "memory.h"

#include <algorithm>
#include <cmath>

namespace m3vit {
namespace trace {

namespace {

Time up(double time) { return static_cast<Time>(std::ceil(time - 1e-9)); }

}  // namespace

Adapter::Adapter(const MemoryShape &shape) : shape_(shape) {}

uint32_t Adapter::burst_length(const Run &run) const {
    const uint32_t page_beats = PAGE / shape_.beat_bytes;
    const uint32_t to_page = page_beats - static_cast<uint32_t>(run.beat % page_beats);
    return std::min({run.left, BURST_BEATS, to_page});
}

Time Adapter::room_for_request(const Side &side) const {
    if (side.runs_asked < OUTSTANDING) return 0;
    if (side.runs_sent + OUTSTANDING <= side.runs_asked) return NEVER;
    return side.run_sent[side.runs_asked % OUTSTANDING] + 1;
}

Time Adapter::ready(Action action) const {
    switch (action) {
    case REQUEST_READ: return room_for_request(read_);
    case REQUEST_WRITE: return room_for_request(write_);
    case PORT_READ:
        if (arrivals_.empty()) return NEVER;
        return up(arrivals_.front().first + arrived_taken_ * shape_.interval);
    case PORT_WRITE: {
        if (write_.taken < BUFFER) return 0;
        if (write_.sent + BUFFER <= write_.taken) return NEVER;
        return write_.drained[write_.taken % BUFFER] + 1;
    }
    default:  // RESPONSE
        return responses_.empty() ? NEVER : responses_.front();
    }
}

void Adapter::act(Action action, Time time, const Request *request) {
    switch (action) {
    case REQUEST_READ:
    case REQUEST_WRITE: {
        Side &side = action == REQUEST_READ ? read_ : write_;
        if (request->beats == 0) return;
        side.runs.push_back(Run{time, request->beat, request->beats});
        ++side.runs_asked;
        return;
    }
    case PORT_READ:
        read_.beat_time[read_.taken++ % BUFFER] = time;
        if (++arrived_taken_ == arrivals_.front().beats) {
            arrivals_.pop_front();
            arrived_taken_ = 0;
        }
        return;
    case PORT_WRITE: write_.beat_time[write_.taken++ % BUFFER] = time; return;
    default: responses_.pop_front();
    }
}

Time Adapter::next(const Side &side, bool is_read) const {
    if (side.runs.empty()) return NEVER;
    const Run &run = side.runs.front();
    const uint64_t end = side.sent + burst_length(run);
    Time time = std::max(run.asked, side.last_sent) + 1;
    if (side.bursts >= OUTSTANDING) {
        time = std::max(time, side.burst_done[side.bursts % OUTSTANDING] + 1);
    }
    if (is_read) {
        if (end > BUFFER) {
            if (side.taken < end - BUFFER) return NEVER;
            time = std::max(time, side.beat_time[(end - BUFFER - 1) % BUFFER] + 1);
        }
    } else {
        if (side.taken < end) return NEVER;
        time = std::max(time, side.beat_time[(end - 1) % BUFFER] + 1);
    }
    return time;
}

Time Adapter::next_read() const { return next(read_, true); }
Time Adapter::next_write() const { return next(write_, false); }

Time Adapter::take_burst(Side &side, bool is_read, uint32_t &beats) {
    const Time time = next(side, is_read);
    side.last_sent = time;
    Run &run = side.runs.front();
    beats = burst_length(run);
    run.left -= beats;
    run.beat += beats;
    run_is_done_ = run.left == 0;
    if (run_is_done_) {
        side.run_sent[side.runs_sent++ % OUTSTANDING] = time;
        side.runs.pop_front();
    }
    return time;
}

void Adapter::serve_read(double &port, double &dram) {
    uint32_t beats;
    const Time time = take_burst(read_, true, beats);
    const double there = std::max(static_cast<double>(time + shape_.request), dram);
    dram = there + beats * shape_.dram_interval;
    const double first = std::max(there + static_cast<double>(shape_.answer), port);
    port = first + beats * shape_.interval;
    arrivals_.push_back(Arrival{first, beats});
    read_.sent += beats;
    read_.burst_done[read_.bursts++ % OUTSTANDING] = up(port);
}

void Adapter::serve_write(double &port, double &dram) {
    uint32_t beats;
    const Time time = take_burst(write_, false, beats);
    const double first = std::max(static_cast<double>(time), port);
    port = first + beats * shape_.interval;
    for (uint32_t i = 0; i < beats; ++i) {
        write_.drained[(write_.sent + i) % BUFFER] = up(first + (i + 1) * shape_.interval);
    }
    const double there = std::max(port + static_cast<double>(shape_.request), dram);
    dram = there + beats * shape_.dram_interval;
    const Time response = up(dram) + shape_.answer;
    write_.sent += beats;
    write_.burst_done[write_.bursts++ % OUTSTANDING] = response;
    if (run_is_done_) responses_.push_back(response);
}

Memory::Memory(const MemoryShape &shape) : shape_(shape) {
    uint32_t ports = 0;
    for (const uint32_t port : shape_.ports) ports = std::max(ports, port + 1);
    for (size_t i = 0; i < shape_.ports.size(); ++i) adapters_.emplace_back(shape_);
    read_free_.assign(ports, 0.0);
    write_free_.assign(ports, 0.0);
}

bool Memory::serve(Time horizon) {
    bool any = false;
    for (;;) {
        Time best = horizon;
        size_t which = 0;
        bool is_read = true;
        for (size_t i = 0; i < adapters_.size(); ++i) {
            const Time read = adapters_[i].next_read();
            const Time write = adapters_[i].next_write();
            if (read < best) {
                best = read;
                which = i;
                is_read = true;
            }
            if (write < best) {
                best = write;
                which = i;
                is_read = false;
            }
        }
        if (best >= horizon) return any;
        any = true;
        const uint32_t port = shape_.ports[which];
        if (is_read) {
            adapters_[which].serve_read(read_free_[port], dram_free_);
        } else {
            adapters_[which].serve_write(write_free_[port], dram_free_);
        }
    }
}

bool Memory::is_pending() const {
    for (const Adapter &one : adapters_) {
        if (one.next_read() != NEVER || one.next_write() != NEVER) return true;
    }
    return false;
}

}  // namespace trace
}  // namespace m3vit
