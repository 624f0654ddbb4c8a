// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// Streams and memory ports that write down what is done with them. In a traced copy of
// hls_src they stand in the place of plain::Stream and plain::Port; values and their
// order are the same.
#ifndef M3VIT_TRACE_CHANNELS_H
#define M3VIT_TRACE_CHANNELS_H

#include <stdlib.h>

#include <vector>

#include "host/plain_port.h"
#include "record.h"

namespace m3vit {
namespace trace {

constexpr uint32_t DEFAULT_DEPTH = 2;  // of a stream without a pragma

template <typename T>
class Stream {
public:
    explicit Stream(const char *name = "stream")
        : channel_(recorder().channel(name, DEFAULT_DEPTH)), head_(0) {}
    Stream(const Stream &) = delete;
    Stream &operator=(const Stream &) = delete;

    void trace_depth(int depth) { recorder().set_depth(channel_, static_cast<uint32_t>(depth)); }

    void write(const T &value) {
        recorder().act(WRITE, channel_);
        items_.push_back(value);
    }
    T read() {
        if (head_ == items_.size()) abort();
        recorder().act(READ, channel_);
        const T value = items_[head_++];
        if (head_ == items_.size()) {
            items_.clear();
            head_ = 0;
        }
        return value;
    }
    bool empty() const { return head_ == items_.size(); }

private:
    uint32_t channel_;
    std::vector<T> items_;
    size_t head_;
};

// `master`: number of the AXI master, in the order of the top's arguments.
template <typename T>
class Port {
public:
    Port(T *memory, uint32_t master = 0) : port_(memory), master_(master) {}

    void read_request(uint64_t beat, uint32_t count) {
        recorder().request(REQUEST_READ, master_, beat, count);
        port_.read_request(beat, count);
    }
    T read() {
        recorder().act(PORT_READ, master_);
        return port_.read();
    }
    void write_request(uint64_t beat, uint32_t count) {
        recorder().request(REQUEST_WRITE, master_, beat, count);
        port_.write_request(beat, count);
    }
    void write(const T &value) {
        recorder().act(PORT_WRITE, master_);
        port_.write(value);
    }
    void write_response() { recorder().act(RESPONSE, master_); }

private:
    plain::Port<T> port_;
    uint32_t master_;
};

}  // namespace trace
}  // namespace m3vit

#define M3VIT_TRACE_PROCESS(name) ::m3vit::trace::recorder().process(name)
#define M3VIT_TRACE_INNER(name) ::m3vit::trace::recorder().inner_process(name)
#define M3VIT_TRACE_OUTER() ::m3vit::trace::recorder().finish_inner()
#define M3VIT_TRACE_PINGPONG(action, name)                 \
    ::m3vit::trace::recorder().act(::m3vit::trace::action, \
                                   ::m3vit::trace::recorder().pingpong(name))
#define M3VIT_TRACE_LOOP(number, interval, is_flushed) \
    ::m3vit::trace::recorder().enter(number, interval, is_flushed)
#define M3VIT_TRACE_STEP const ::m3vit::trace::Step trace_step_

#endif
