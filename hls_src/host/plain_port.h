// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// A memory port for compilers without hls::burst_maxi, with its interface: requests
// of runs of beats, then the beats of all requests in order.
#ifndef M3VIT_PLAIN_PORT_H
#define M3VIT_PLAIN_PORT_H

#include <stdint.h>

namespace m3vit {
namespace plain {

template <typename T>
class Port {
public:
    Port(T *memory) : memory_(memory), first_(0), last_(0), done_(0), beats_() {}

    void read_request(uint64_t beat, uint32_t count) { request(beat, count); }
    T read() { return memory_[next()]; }

    void write_request(uint64_t beat, uint32_t count) { request(beat, count); }
    void write(const T &value) { memory_[next()] = value; }
    void write_response() {}

private:
    static constexpr int LIMIT = 64;  // requests that may be under way

    void request(uint64_t beat, uint32_t count) {
        beats_[last_].beat = beat;
        beats_[last_].count = count;
        last_ = (last_ + 1) % LIMIT;
    }
    uint64_t next() {
        const uint64_t beat = beats_[first_].beat + done_;
        if (++done_ == beats_[first_].count) {
            done_ = 0;
            first_ = (first_ + 1) % LIMIT;
        }
        return beat;
    }

    struct Run {
        uint64_t beat;
        uint32_t count;
    };
    T *memory_;
    int first_;
    int last_;
    uint32_t done_;
    Run beats_[LIMIT];
};

}  // namespace plain
}  // namespace m3vit

#endif
