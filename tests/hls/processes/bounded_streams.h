// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// Streams of stated depths between threads, for test_front_depths.py: a write waits
// while the stream is full and a read while it is empty.
#ifndef M3VIT_BOUNDED_STREAMS_H
#define M3VIT_BOUNDED_STREAMS_H

#include <stdio.h>
#include <stdlib.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

namespace m3vit {
namespace plain {

// Counts what happens on any stream; stands still when all threads wait.
inline std::atomic<uint64_t> &progress() {
    static std::atomic<uint64_t> count{0};
    return count;
}

template <typename T>
class Stream {
public:
    Stream(const char *name, size_t depth)
        : name_(name), depth_(getenv("M3VIT_SHORT_STREAMS") != nullptr ? 1 : depth) {}
    ~Stream() {
        if (!items_.empty()) abort();
    }
    Stream(const Stream &) = delete;
    Stream &operator=(const Stream &) = delete;

    void write(const T &value) {
        std::unique_lock<std::mutex> lock(mutex_);
        wait(lock, [this] { return items_.size() < depth_; }, "full");
        items_.push_back(value);
        ++progress();
        changed_.notify_all();
    }
    T read() {
        std::unique_lock<std::mutex> lock(mutex_);
        wait(lock, [this] { return !items_.empty(); }, "empty");
        const T value = items_.front();
        items_.pop_front();
        ++progress();
        changed_.notify_all();
        return value;
    }

private:
    // Ends the bench when nothing has happened anywhere for a while.
    template <typename Ready>
    void wait(std::unique_lock<std::mutex> &lock, Ready ready, const char *state) {
        while (!ready()) {
            const uint64_t before = progress();
            changed_.wait_for(lock, std::chrono::seconds(PATIENCE));
            if (!ready() && progress() == before) {
                fprintf(stderr, "deadlock: %s is %s\n", name_, state);
                std::this_thread::sleep_for(std::chrono::milliseconds(200));
                _Exit(3);
            }
        }
    }

    static constexpr int PATIENCE = 3;
    const char *name_;
    size_t depth_;
    std::deque<T> items_;
    std::mutex mutex_;
    std::condition_variable changed_;
};

}  // namespace plain
}  // namespace m3vit

#endif
