// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// Threads that share the items of a job. Whoever is awake takes the next item; a
// thread that sleeps or is not scheduled delays nobody. Workers watch for the
// next job a moment, then sleep.
#ifndef M3VIT_FAST_POOL_H
#define M3VIT_FAST_POOL_H

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

namespace fast {

class Pool {
public:
    // With fewer threads if the system gives no more.
    explicit Pool(int threads);
    ~Pool();
    Pool(const Pool &) = delete;
    Pool &operator=(const Pool &) = delete;

    int threads() const { return static_cast<int>(workers_.size()) + 1; }

    // work(item, thread) for every item below `items`; returns when all are done.
    // Items must not throw. At most 2^20 - 1 items.
    template <typename Work>
    void run(uint32_t items, const Work &work) {
        run_job(items, &call<Work>, &work);
    }

private:
    using Function = void (*)(const void *work, uint32_t item, int thread);

    template <typename Work>
    static void call(const void *work, uint32_t item, int thread) {
        (*static_cast<const Work *>(work))(item, thread);
    }

    void run_job(uint32_t items, Function function, const void *work);
    bool take(int thread);
    bool waiting() const;
    void worker(int thread);

    // generation << 40 | next item << 20 | items: one word, so that an item can only
    // be taken of the job that is current.
    alignas(64) std::atomic<uint64_t> ticket_{0};
    alignas(64) std::atomic<uint32_t> done_{0};
    alignas(64) std::atomic<int> sleepers_{0};
    std::atomic<bool> stop_{false};
    Function function_ = nullptr;
    const void *work_ = nullptr;
    std::mutex mutex_;
    std::condition_variable wake_;
    std::vector<std::thread> workers_;
};

}  // namespace fast

#endif
