// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// In place of host/plain_port.h: a memory port for Bambu, which has no hls::burst_maxi.
// Requests wait in registers, a shift register each way, so that a pointer stays a
// pointer. Beats are plain integers in memory.
#ifndef M3VIT_PLAIN_PORT_H
#define M3VIT_PLAIN_PORT_H

#include <ap_int.h>
#include <stdint.h>

namespace m3vit {
namespace plain {

template <typename T>
class Port {
public:
    Port(uint64_t *memory) : memory_(memory), under_way_(0), done_(0) {
#pragma clang loop unroll(full)
        for (int i = 0; i < LIMIT; ++i) {
            beat_[i] = 0;
            count_[i] = 0;
        }
    }

    void read_request(uint64_t beat, uint32_t count) { request(beat, count); }
    T read() { return T(memory_[next()]); }

    void write_request(uint64_t beat, uint32_t count) { request(beat, count); }
    void write(const T &value) { memory_[next()] = value.to_uint64(); }
    void write_response() {}

private:
    static constexpr int LIMIT = 16;  // requests that may be under way

    void request(uint64_t beat, uint32_t count) {
#pragma clang loop unroll(full)
        for (int i = 0; i < LIMIT; ++i) {
            if (i == under_way_) {
                beat_[i] = static_cast<uint32_t>(beat);
                count_[i] = count;
            }
        }
        ++under_way_;
    }
    uint32_t next() {
        const uint32_t beat = beat_[0] + done_;
        if (++done_ == count_[0]) {
            done_ = 0;
            --under_way_;
#pragma clang loop unroll(full)
            for (int i = 0; i + 1 < LIMIT; ++i) {
                beat_[i] = beat_[i + 1];
                count_[i] = count_[i + 1];
            }
        }
        return beat;
    }

    uint64_t *memory_;
    int under_way_;
    uint32_t done_;
    uint32_t beat_[LIMIT];
    uint32_t count_[LIMIT];
};

}  // namespace plain
}  // namespace m3vit

#endif
