// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// The time of a pass: the processes that were written down, run side by side.
//
// A pipeline is one clock that stands still as long as one of its stages cannot go on:
// what is in flight does not leave while there is no input (`stp`, what Vitis HLS makes
// without being asked). A flushed one (`style = flp`) is a queue of as many iterations as
// it has stages. Reads are done in the first stage, writes in the last. A word is readable a cycle
// after it was written, its place free a cycle after it was read. A half of a ping-pong belongs to
// its writer from the call to the return, then to its reader.
//
// Times follow from each other, so the order in which processes are looked at does not
// matter; only memory, which several masters share, is served window by window.
#ifndef M3VIT_TRACE_NETWORK_H
#define M3VIT_TRACE_NETWORK_H

#include <string>
#include <vector>

#include "memory.h"
#include "record.h"

namespace m3vit {
namespace trace {

// A stream, or a ping-pong of two halves.
class Fifo {
public:
    explicit Fifo(uint32_t depth)
        : depth_(depth > 1 ? depth : 1), written_(depth_), taken_(depth_) {}

    Time ready(Action action) const {
        if (action == READ || action == TAKE) {
            return writes_ > reads_ ? written_[reads_ % depth_] + 1 : NEVER;
        }
        if (action == FILLED || action == DROP) return 0;
        if (writes_ - reads_ == depth_) return NEVER;
        return writes_ < depth_ ? 0 : taken_[writes_ % depth_] + 1;
    }
    void act(Action action, Time time) {
        if (action == READ || action == DROP) taken_[reads_++ % depth_] = time;
        if (action == WRITE || action == FILLED) written_[writes_++ % depth_] = time;
    }
    uint64_t left() const { return writes_ - reads_; }

private:
    uint32_t depth_;
    std::vector<Time> written_;
    std::vector<Time> taken_;
    uint64_t writes_ = 0;
    uint64_t reads_ = 0;
};

// One call of a process in a loop of chunks.
struct Call {
    Time start;
    Time end;
    uint64_t writes;  // words to streams
};

class Network;

// A process on its way.
class Runner {
public:
    Runner(Network &network, const Process &process);

    // Goes on up to `horizon`; whether it got anywhere.
    bool run(Time horizon);
    bool is_done() const { return done_; }
    bool is_blocked() const { return blocked_ != NOTHING; }
    std::string waits_for() const;

    const Process &process() const { return process_; }
    Time end() const { return now_; }
    Time stalled() const { return stalled_; }
    Time stalled(Action action, uint32_t channel) const;
    const std::vector<Call> &calls() const { return calls_; }

private:
    static constexpr Deed NOTHING = ~Deed(0);

    // A place in the iterations of a loop.
    struct Cursor {
        size_t entry;
        uint64_t in_entry;   // iterations of it that are behind
        uint64_t iteration;  // of the loop
    };

    bool next_event();
    void open_loop(const Loop &loop);
    bool run_flushed(Time horizon);
    bool issue(Time horizon);
    bool retire(Time horizon);
    Time when(const std::vector<Deed> &deeds, Time due, Deed &last);
    void commit(const std::vector<Deed> &deeds, Time time);
    void seek(Cursor &cursor, bool early) const;
    void pass(Cursor &cursor) const;
    bool events(Time time);
    void stall(Time time, Time due, Deed deed);
    const Request *request_of(Deed deed);
    void note_call(Deed deed, Time time);

    Network &network_;
    const Process &process_;
    size_t entry_ = 0;
    Time now_ = 0;  // of the last tick
    Time stalled_ = 0;
    Time wake_ = 0;  // the event's time if nothing holds it up
    bool done_ = false;
    bool has_event_ = false;
    Deed blocked_ = NOTHING;

    bool in_loop_ = false;
    size_t loop_end_ = 0;  // entry behind the loop
    uint64_t interval_ = 1;
    uint64_t depth_ = 1;
    uint64_t at_ = 0;  // tick of the loop
    Cursor early_ = {};
    Cursor late_ = {};
    const std::vector<Deed> *now_early_ = nullptr;
    const std::vector<Deed> *now_late_ = nullptr;
    uint64_t event_tick_ = 0;

    // Of a flushed loop: iterations in flight, times by iteration.
    bool is_flushed_ = false;
    bool is_paused_ = false;
    uint64_t flight_ = 1;
    Time issued_ = 0;
    Time retired_ = 0;
    Deed held_up_ = NOTHING;  // what the last one that left had to wait for
    std::vector<Time> issue_times_;
    std::vector<Time> retire_times_;

    size_t next_request_ = 0;
    bool in_call_ = false;
    std::vector<Call> calls_;
    std::vector<Time> stalls_;  // by deed
};

class Network {
public:
    Network(const Recorder &recorder, const MemoryShape &shape);

    // Runs everything; returns the time of the end. `problem` says who waits for whom
    // if nobody can go on.
    Time run(std::string &problem);

    Time ready(Deed deed) const;
    void act(Deed deed, Time time, const Request *request);
    std::string describe(Deed deed) const;

    const Recorder &recorder() const { return recorder_; }
    const std::deque<Runner> &runners() const { return runners_; }
    Memory &memory() { return memory_; }

private:
    static constexpr Time WINDOW = 16;

    std::string leftover() const;

    const Recorder &recorder_;
    mutable Memory memory_;
    std::vector<Fifo> fifos_;
    std::deque<Runner> runners_;
};

}  // namespace trace
}  // namespace m3vit

#endif
