// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// The interface in C. A handle outlives a fork: in the child, where the threads
// of the engine do not exist, it makes a new one and leaves the old one alone.
#include "api.h"

#include <unistd.h>

#include <atomic>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

#include "engine.h"

using fast::Engine;
using fast::Path;

namespace {

struct State {
    std::mutex mutex;
    Engine engine;
    pid_t process = getpid();

    // What to forget before the next run: nobody waits for the run in progress.
    std::mutex notes_mutex;
    std::vector<std::pair<const uint8_t *, uint64_t>> notes;

    State(int threads, const Path &path) : engine(threads, path) { notes.reserve(MAX_NOTES); }

    void note(const uint8_t *memory, uint64_t bytes) {
        std::lock_guard<std::mutex> lock(notes_mutex);
        if (notes.size() >= MAX_NOTES || !memory) {
            notes.clear();
            memory = nullptr;
        }
        notes.push_back({memory, bytes});
    }

    // With the engine locked.
    void forget_noted() {
        std::lock_guard<std::mutex> lock(notes_mutex);
        for (const auto &range : notes) engine.forget(range.first, range.second);
        notes.clear();
    }

private:
    static constexpr size_t MAX_NOTES = 256;
};

}  // namespace

struct m3vit_fast {
    int threads;
    const Path *path;
    std::atomic<State *> state;

    // Of this process; null if there is no memory for it.
    State *current() {
        State *known = state.load();
        if (known->process == getpid()) return known;
        // Locks and packed weights may have been in use when the process forked.
        State *fresh = new (std::nothrow) State(threads, *path);
        if (fresh && !state.compare_exchange_strong(known, fresh)) {
            delete fresh;
            return known;
        }
        return fresh;
    }
};

namespace {

// Rows are read as 64-bit words at most.
bool usable(const m3vit_fast_memory &m) {
    const auto aligned = [](const void *p, uint32_t bytes) {
        return bytes == 0 || (p && reinterpret_cast<uintptr_t>(p) % 8 == 0);
    };
    return aligned(m.bank, m.bank_bytes) && aligned(m.result, m.result_bytes) &&
           (m.frame || !m.frame_bytes);
}

template <typename Call>
uint32_t guarded(m3vit_fast *handle, const Call &call) {
    try {
        State *state = handle->current();
        if (!state) return M3VIT_FAST_NO_MEMORY;
        std::lock_guard<std::mutex> lock(state->mutex);
        state->forget_noted();
        return call(state->engine);
    } catch (const std::bad_alloc &) {
        return M3VIT_FAST_NO_MEMORY;
    }
}

}  // namespace

extern "C" {

m3vit_fast *m3vit_fast_create(uint32_t threads, const char *name) {
    const Path *chosen = nullptr;
    for (const Path *const *path = fast::available_paths(); *path && !chosen; ++path)
        if (!name || !*name || !std::strcmp(name, (*path)->name)) chosen = *path;
    if (!chosen || threads < 1 || threads > 256) return nullptr;
    try {
        const int count = static_cast<int>(threads);
        auto state = std::make_unique<State>(count, *chosen);
        return new m3vit_fast{count, chosen, {state.release()}};
    } catch (const std::bad_alloc &) {
        return nullptr;
    }
}

void m3vit_fast_destroy(m3vit_fast *handle) {
    if (!handle) return;
    State *state = handle->state;
    if (state->process == getpid()) delete state;
    delete handle;
}

const char *m3vit_fast_path(const m3vit_fast *handle) { return handle->path->name; }

const char *m3vit_fast_available(uint32_t index) {
    const Path *const *path = fast::available_paths();
    for (; *path && index; --index) ++path;
    return *path ? (*path)->name : nullptr;
}

uint32_t m3vit_fast_run(m3vit_fast *handle, m3vit_fast_run_args *args) {
    if (!usable(args->memory)) return M3VIT_FAST_BAD_ARGUMENT;
    return guarded(handle, [&](Engine &engine) { return engine.run(*args); });
}

uint32_t m3vit_fast_step(m3vit_fast *handle, const uint32_t *words, const m3vit_fast_memory *memory,
                         const m3vit_fast_layout *layout, const m3vit_fast_capacity *capacity,
                         m3vit_fast_pending *pending) {
    if (!usable(*memory)) return M3VIT_FAST_BAD_ARGUMENT;
    return guarded(handle, [&](Engine &engine) {
        return engine.step(words, *memory, *layout, *capacity, *pending);
    });
}

void m3vit_fast_forget(m3vit_fast *handle, const uint8_t *memory, uint64_t bytes) {
    State *state = handle->current();
    if (state) state->note(memory, bytes);
}

uint32_t m3vit_fast_experts(m3vit_fast *handle, uint32_t *pairs, uint32_t capacity) {
    return guarded(handle, [&](Engine &engine) {
        uint32_t n = 0;
        for (const auto &used : engine.experts_used) {
            if (n == capacity) break;
            pairs[2 * n] = used.first;
            pairs[2 * n++ + 1] = used.second;
        }
        return n;
    });
}

void m3vit_fast_read_profile(m3vit_fast *handle, m3vit_fast_profile *out, uint32_t clear) {
    guarded(handle, [&](Engine &engine) {
        *out = engine.profile;
        if (clear) engine.clear_profile();
        return 0u;
    });
}
}
