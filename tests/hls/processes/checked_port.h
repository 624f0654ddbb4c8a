// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// In place of host/plain_port.h: a port that stops the bench where hardware would hang
// or mix up runs. Beats that nobody has requested, requested beats that are not moved,
// responses that are not collected, more runs under way than an adapter holds.
#ifndef M3VIT_PLAIN_PORT_H
#define M3VIT_PLAIN_PORT_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

namespace m3vit {
namespace plain {

template <typename T>
class Port {
public:
    Port(T *memory) : memory_(memory) {}
    ~Port() {
        check(first_ == last_, "beats are left");
        check(responses_ == 0, "responses are left");
    }

    void read_request(uint64_t beat, uint32_t count) { request(beat, count); }
    T read() { return memory_[next()]; }

    void write_request(uint64_t beat, uint32_t count) {
        request(beat, count);
        check(++responses_ <= LIMIT, "too many responses");
    }
    void write(const T &value) { memory_[next()] = value; }
    void write_response() { check(responses_-- > 0 && first_ == last_, "early response"); }

private:
    static constexpr int LIMIT = 16;  // num_read_outstanding, num_write_outstanding

    static void check(bool right, const char *what) {
        if (right) return;
        fprintf(stderr, "port: %s\n", what);
        abort();
    }
    void request(uint64_t beat, uint32_t count) {
        check(count != 0, "empty run");
        check(last_ - first_ < LIMIT, "too many runs");
        runs_[last_ % LIMIT].beat = beat;
        runs_[last_ % LIMIT].count = count;
        ++last_;
        in_flight_ += count;
        check(last_ - first_ <= 2 || in_flight_ <= 16 * LIMIT, "more beats than an adapter holds");
    }
    uint64_t next() {
        check(first_ != last_, "no such beat");
        const Run run = runs_[first_ % LIMIT];
        const uint64_t beat = run.beat + done_;
        --in_flight_;
        if (++done_ == run.count) {
            done_ = 0;
            ++first_;
        }
        return beat;
    }

    struct Run {
        uint64_t beat;
        uint32_t count;
    };
    T *memory_;
    int first_ = 0;
    int last_ = 0;
    int responses_ = 0;
    uint32_t done_ = 0;
    uint64_t in_flight_ = 0;
    Run runs_[LIMIT];
};

}  // namespace plain
}  // namespace m3vit

#endif
