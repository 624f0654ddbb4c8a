// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// The engine's interface in C, for ctypes. All addresses are those of this process.
#ifndef M3VIT_FAST_API_H
#define M3VIT_FAST_API_H

#include <stdint.h>

#define M3VIT_FAST_EXPORT __attribute__((visibility("default")))

extern "C" {

// Codes of the host itself, beside those of the accelerator.
enum {
    M3VIT_FAST_NO_MEMORY = 1000,    // nothing more was executed; the workspace is undefined
    M3VIT_FAST_BAD_ARGUMENT = 1001  // a null or misaligned pointer, nothing was executed
};

// The workspace sections of a bank and the slots that no LAYERNORM has added yet.
typedef struct {
    uint64_t weights_line, part_lines, workspace_line, workspace_lines;
} m3vit_fast_layout;

typedef struct {
    uint32_t count, dst, rows, cols_out;
} m3vit_fast_pending;

typedef struct {
    uint32_t half_lines, tokens, map_lines;
} m3vit_fast_capacity;

typedef struct {
    uint8_t *bank;
    const uint8_t *frame;
    uint8_t *result;
    uint32_t bank_bytes, frame_bytes, result_bytes;
    // 1: packed weights are compared with the bank (a checksum) before they are used.
    // 0: packed weights hold until m3vit_fast_forget.
    uint32_t verify;
} m3vit_fast_memory;

typedef struct {
    uint32_t command, task;
    uint32_t
        misalignment;  // the device addresses of bank, frame and result, or-ed; low 6 bits count
    m3vit_fast_memory memory;
    m3vit_fast_capacity capacity;
    uint32_t pc;  // out
} m3vit_fast_run_args;

// Nanoseconds and executions by opcode, since the engine was made or the profile cleared.
typedef struct {
    uint64_t nanoseconds[16];
    uint64_t calling_thread[16];  // processor time of the thread that called, of the above
    uint64_t executions[16];
    uint64_t products[16];
    uint64_t packing;  // nanoseconds in packing weights; part of the above
    uint64_t panels;   // panels of weights that were packed
} m3vit_fast_profile;

typedef struct m3vit_fast m3vit_fast;

// Null if memory or threads are lacking, or if the processor lacks the path.
// An empty path is the fastest that the processor has.
M3VIT_FAST_EXPORT m3vit_fast *m3vit_fast_create(uint32_t threads, const char *path);
M3VIT_FAST_EXPORT void m3vit_fast_destroy(m3vit_fast *);
M3VIT_FAST_EXPORT const char *m3vit_fast_path(const m3vit_fast *);
// Name of path i of this processor, the fastest first; null behind the last.
M3VIT_FAST_EXPORT const char *m3vit_fast_available(uint32_t i);

M3VIT_FAST_EXPORT uint32_t m3vit_fast_run(m3vit_fast *, m3vit_fast_run_args *);
M3VIT_FAST_EXPORT uint32_t m3vit_fast_step(m3vit_fast *, const uint32_t *words,
                                           const m3vit_fast_memory *, const m3vit_fast_layout *,
                                           const m3vit_fast_capacity *, m3vit_fast_pending *);
// Packed weights of every bank that the memory touches are dropped before the next run; of
// all banks if it is null. Does not wait for a run in progress.
M3VIT_FAST_EXPORT void m3vit_fast_forget(m3vit_fast *, const uint8_t *memory, uint64_t bytes);
// Pairs of an EXPERTS_UP's index and the experts with tokens in it, of the last run; their number.
M3VIT_FAST_EXPORT uint32_t m3vit_fast_experts(m3vit_fast *, uint32_t *pairs, uint32_t capacity);
M3VIT_FAST_EXPORT void m3vit_fast_read_profile(m3vit_fast *, m3vit_fast_profile *, uint32_t clear);
}

#endif
