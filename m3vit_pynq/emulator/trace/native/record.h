// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// What a pass does, written down while it runs: the iterations of every pipelined loop
// of every process, and what each iteration reads and writes.
//
// The hooks that instrument.py puts into a copy of hls_src end here. Equal iterations
// in a row are one entry; what an iteration does is kept once a process.
#ifndef M3VIT_TRACE_RECORD_H
#define M3VIT_TRACE_RECORD_H

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace m3vit {
namespace trace {

// What an iteration, or a statement between loops, does with a channel.
enum Action : uint32_t {
    READ,          // a stream
    PORT_READ,     // a beat of a memory port
    REQUEST_READ,  // a run of beats
    REQUEST_WRITE,
    RESPONSE,    // of the oldest write request
    RESERVE,     // a half of a ping-pong to fill
    TAKE,        // a half that is full
    FIRST_LATE,  // from here on: at the end of the pipeline
    WRITE = FIRST_LATE,
    PORT_WRITE,
    FILLED,
    DROP,
    ACTIONS,
};

// An action on a channel (a stream, a ping-pong, or a memory port by its master).
using Deed = uint32_t;
inline Deed deed(Action action, uint32_t channel) { return action << 16 | channel; }
inline Action action_of(Deed deed) { return static_cast<Action>(deed >> 16); }
inline uint32_t channel_of(Deed deed) { return deed & 0xffff; }

struct Pattern {
    std::vector<Deed> early;  // in the first stage of the pipeline
    std::vector<Deed> late;   // in the last
};

enum class Kind : uint32_t {
    ITERATION,  // `count` iterations of pattern `what`
    LOOP,       // loop `what` begins
    STATEMENT,  // `count` times pattern `what` outside of loops
};

struct Entry {
    Kind kind;
    uint32_t what;
    uint64_t count;
};

// A run of beats of a memory port.
struct Request {
    uint64_t beat;
    uint32_t beats;
};

struct Process {
    explicit Process(std::string its_name) : name(std::move(its_name)) {}

    std::string name;
    std::vector<Entry> entries;
    std::vector<Pattern> patterns;
    std::vector<Request> requests;                  // in the order of their deeds
    std::map<std::vector<Deed>, uint32_t> numbers;  // of patterns
    std::vector<Deed> latest;
    uint32_t latest_number = 0;

    uint32_t number(const std::vector<Deed> &deeds);
};

// A pipelined loop. Flushed: iterations in flight go on when there is no input.
struct Loop {
    uint32_t interval;
    uint32_t depth;
    bool is_flushed;
};

struct Channel {
    std::string name;
    uint32_t depth;
};

// More entries than a pass may have: memory would run out.
class TooLong {};

class Recorder {
public:
    // A new pass: processes and channels of the one before are gone.
    void begin();
    // The process of a region that is called next.
    void process(const char *name);
    // A process of a loop of chunks, inside the one that was opened last.
    void inner_process(const char *name);
    void finish_inner();

    uint32_t channel(const char *name, uint32_t depth);
    uint32_t pingpong(const char *name);
    void set_depth(uint32_t channel, uint32_t depth) { channels[channel].depth = depth; }

    void enter(uint32_t loop, uint32_t interval, bool is_flushed);
    void begin_iteration();
    void end_iteration();
    void act(Action action, uint32_t channel);
    void request(Action action, uint32_t channel, uint64_t beat, uint32_t beats);

    // Depth of a loop's pipeline by its number; of unknown loops 4. With FLUSHED or
    // STALLED added the loop is that whatever its pragma says.
    static constexpr uint32_t FLUSHED = 1u << 31;
    static constexpr uint32_t STALLED = 1u << 30;
    std::vector<uint32_t> depths;
    uint64_t limit = 48u << 20;  // entries of a pass

    std::deque<Process> processes;
    std::deque<Channel> channels;
    std::vector<Loop> loops;

private:
    void append(Kind kind, uint32_t what);

    Process *now_ = nullptr;
    Process *outer_ = nullptr;
    std::map<std::string, Process *> inner_;
    std::map<std::string, uint32_t> pingpongs_;
    std::vector<Deed> deeds_;
    uint64_t entries_ = 0;
    bool is_iterating_ = false;
};

Recorder &recorder();

// Lives as long as an iteration.
class Step {
public:
    Step() { recorder().begin_iteration(); }
    ~Step() noexcept(false) { recorder().end_iteration(); }
};

}  // namespace trace
}  // namespace m3vit

#endif
