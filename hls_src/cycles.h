// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// The cycle model: loops report their trip counts where they run. Everything
// here vanishes in synthesis.
//
// Work that overlaps in hardware runs one after the other on a computer; a
// Fork puts its branches next to each other on the time line:
//
//     Fork fork;
//     load_next(...);  fork.branch();
//     compute(...);    fork.branch();
//     fork.join();     // time is that of the longest branch
//
// A Mark notes when a chunk of weights arrived in its half of the ping-pong, and
// when the engine computed with it.
#ifndef M3VIT_CYCLES_H
#define M3VIT_CYCLES_H

#include "config.h"

namespace m3vit {
namespace cycles {

#ifdef __SYNTHESIS__

inline void loop(uint64_t, uint64_t, uint64_t) {}
inline void engine(uint64_t) {}
inline void burst(uint64_t, int) {}
inline void wait(uint64_t) {}
inline void traffic(uint64_t) {}
inline void reset() {}
inline void begin(uint32_t, uint32_t) {}
inline void end() {}
inline uint64_t elapsed() { return 0; }

struct Fork {
    uint64_t branch() { return 0; }
    void join() {}
};

struct Mark {
    void arrived(int) {}
    void computed(int, uint32_t, bool) {}
};

#else

// What the counters hold for one instruction or a whole run.
struct Record {
    uint64_t total;    // cycles from start to end
    uint64_t compute;  // cycles in which the matrix engine multiplies
    uint64_t load;     // cycles in which weights or tables arrive
    uint64_t stall;    // cycles in which everything waits for them
    uint64_t bytes;    // bytes read from or written to DRAM
    uint32_t pc;
    uint32_t opcode;
};

inline Record &counter() {
    static Record record;
    return record;
}

// One record per instruction of the last run.
struct Log {
    Record entry[MAX_INSTRUCTIONS];
    uint32_t length;
    uint64_t elapsed;
};

inline Log &log() {
    static Log records;
    return records;
}

// How one chunk of weights passed through the ping-pong; times are cycles since
// the start of the run.
struct Passage {
    uint64_t load_start;
    uint64_t load_end;
    uint64_t compute_start;
    uint64_t compute_end;
    uint64_t multiply;  // cycles of the computation in which the engine multiplies
    uint32_t pc;        // of the instruction that computes with the chunk
    uint32_t expert;    // NO_EXPERT if the weights are no expert's
    uint32_t second;    // 1 for the second layer of an expert
    uint32_t half;      // 0 ping, 1 pong
};

constexpr uint32_t NO_EXPERT = 0xffffffff;
// More than twenty times what the largest shipped model needs.
constexpr uint32_t MAX_PASSAGES = 16384;

// One per chunk of the last run, in the order of computation.
struct PassageLog {
    Passage entry[MAX_PASSAGES];
    uint32_t length;
    uint32_t dropped;  // those that found the log full
    Passage half[2];   // what lies in each half of the ping-pong
};

inline PassageLog &passages() {
    static PassageLog records;
    return records;
}

inline void reset() {
    log().length = 0;
    log().elapsed = 0;
    passages().length = 0;
    passages().dropped = 0;
}

inline uint64_t elapsed() { return log().elapsed; }

inline void begin(uint32_t pc, uint32_t opcode) {
    counter() = Record();
    counter().pc = pc;
    counter().opcode = opcode;
    counter().total = STEP_LATENCY;
}

inline void end() {
    log().elapsed += counter().total;
    log().entry[log().length++] = counter();
}

inline void traffic(uint64_t bytes) { counter().bytes += bytes; }

// A pipelined loop: trip count, initiation interval, pipeline depth.
inline void loop(uint64_t trips, uint64_t interval, uint64_t latency) {
    counter().total += trips * interval + latency;
}

// The same for the matrix engine's loop (interval 1).
inline void engine(uint64_t trips) {
    counter().total += trips + ENGINE_LATENCY;
    counter().compute += trips;
}

// A burst of `beats` beats on each of `ports` ports.
inline void burst(uint64_t beats, int ports) {
    const uint64_t bytes = beats * ports * BEAT;
    const uint64_t shared =
        (bytes * 256 + board::DRAM_BYTES_PER_256_CYCLES - 1) / board::DRAM_BYTES_PER_256_CYCLES;
    const uint64_t spent = DRAM_LATENCY + (shared > beats ? shared : beats);
    counter().total += spent;
    counter().load += spent;
    counter().bytes += bytes;
}

// Cycles of the preceding overlap in which computation waited for memory.
inline void wait(uint64_t cycles) { counter().stall += cycles; }

class Fork {
public:
    Fork() : start_(counter().total), end_(counter().total) {}
    // Ends a branch; returns its length.
    uint64_t branch() {
        const uint64_t now = counter().total;
        const uint64_t length = now - start_;
        if (now > end_) end_ = now;
        counter().total = start_;
        return length;
    }
    void join() { counter().total = end_; }

private:
    uint64_t start_;
    uint64_t end_;
};

// Cycles since the start of the run, in the branch of a Fork that is under way.
inline uint64_t now() { return log().elapsed + counter().total; }

// Stands where the load of a chunk, or the computation with it, starts; told
// where it ends. Only looks at the counters.
class Mark {
public:
    Mark() : start_(now()), compute_(counter().compute) {}

    // The weights lie in this half of the ping-pong.
    void arrived(int half) {
        Passage &passage = passages().half[half];
        passage.load_start = start_;
        passage.load_end = now();
    }

    // All tokens have met the weights in this half, which now may be overwritten.
    void computed(int half, uint32_t expert, bool second) {
        PassageLog &all = passages();
        if (all.length == MAX_PASSAGES) {
            ++all.dropped;
            return;
        }
        Passage &passage = all.entry[all.length++];
        passage = all.half[half];
        passage.compute_start = start_;
        passage.compute_end = now();
        passage.multiply = counter().compute - compute_;
        passage.pc = counter().pc;
        passage.expert = counter().opcode == OP_EXPERTS ? expert : NO_EXPERT;
        passage.second = second ? 1 : 0;
        passage.half = static_cast<uint32_t>(half);
    }

private:
    uint64_t start_;
    uint64_t compute_;
};

#endif

}  // namespace cycles
}  // namespace m3vit

#endif
