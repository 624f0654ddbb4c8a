// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
#include "pool.h"

#include <chrono>
#include <system_error>

namespace fast {

namespace {

constexpr uint64_t COUNT_MASK = (uint64_t{1} << 20) - 1;
constexpr uint64_t NEXT_ITEM = uint64_t{1} << 20;
constexpr uint64_t NEXT_JOB = uint64_t{1} << 40;
constexpr auto WATCH = std::chrono::microseconds(200);  // before a worker sleeps
constexpr int POLLS = 64;

inline void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

inline bool has_item(uint64_t ticket) {
    return ((ticket >> 20) & COUNT_MASK) < (ticket & COUNT_MASK);
}

}  // namespace

Pool::Pool(int threads) {
    try {
        workers_.reserve(static_cast<size_t>(threads));
        for (int t = 1; t < threads; ++t) workers_.emplace_back(&Pool::worker, this, t);
    } catch (const std::system_error &) {
        // The system gives no more threads: work with those there are.
    }
}

Pool::~Pool() {
    {
        std::lock_guard<std::mutex> lock(mutex_);
        stop_ = true;
    }
    wake_.notify_all();
    for (std::thread &thread : workers_) thread.join();
}

bool Pool::take(int thread) {
    uint64_t ticket = ticket_.load(std::memory_order_acquire);
    do {
        if (!has_item(ticket)) return false;
    } while (!ticket_.compare_exchange_weak(ticket, ticket + NEXT_ITEM, std::memory_order_acq_rel,
                                            std::memory_order_acquire));
    // Until this item is counted as done, the job stays the current one.
    function_(work_, static_cast<uint32_t>((ticket >> 20) & COUNT_MASK), thread);
    done_.fetch_add(1, std::memory_order_acq_rel);
    return true;
}

bool Pool::waiting() const { return has_item(ticket_.load()) || stop_.load(); }

void Pool::run_job(uint32_t items, Function function, const void *work) {
    if (workers_.empty() || items < 2) {
        for (uint32_t item = 0; item < items; ++item) function(work, item, 0);
        return;
    }
    function_ = function;
    work_ = work;
    done_.store(0, std::memory_order_relaxed);
    const uint64_t generation =
        (ticket_.load(std::memory_order_relaxed) & ~(NEXT_JOB - 1)) + NEXT_JOB;
    ticket_.store(generation | items);
    if (sleepers_.load() > 0) {
        {
            std::lock_guard<std::mutex> lock(mutex_);
        }
        wake_.notify_all();
    }
    while (take(0)) {
    }
    for (int polls = 0; done_.load(std::memory_order_acquire) != items; ++polls) {
        if (polls < 2000)
            pause();
        else
            std::this_thread::yield();
    }
}

void Pool::worker(int thread) {
    while (!stop_.load(std::memory_order_relaxed)) {
        while (take(thread)) {
        }
        const auto begin = std::chrono::steady_clock::now();
        bool found = false;
        while (!found && std::chrono::steady_clock::now() - begin < WATCH)
            for (int i = 0; i < POLLS && !(found = waiting()); ++i) pause();
        if (found) continue;
        std::unique_lock<std::mutex> lock(mutex_);
        sleepers_.fetch_add(1);
        wake_.wait(lock, [this] { return waiting(); });
        sleepers_.fetch_sub(1);
    }
}

}  // namespace fast
