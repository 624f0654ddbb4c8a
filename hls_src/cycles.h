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

inline void reset() {
    log().length = 0;
    log().elapsed = 0;
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

#endif

}  // namespace cycles
}  // namespace m3vit

#endif
