// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// Executes recorded instructions and runs, and compares: replay FILE PATH THREADS.
// For sanitizers and foreign processors: every buffer is an allocation of its own of
// exactly its size. A record is a header of 32-bit words, then the bank, frame and
// result before, then bank and result as they have to be afterwards.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "api.h"

namespace {

struct Header {
    uint32_t is_run, task, code, pc;
    uint32_t bank_bytes, frame_bytes, result_bytes;
    uint32_t layout[4], capacity[3], before[4], after[4], words[16];
};

struct Buffer {
    uint8_t *data;
    size_t size;

    explicit Buffer(size_t bytes) : size(bytes) {
        void *memory = nullptr;
        if (posix_memalign(&memory, 64, bytes ? bytes : 1)) std::abort();
        data = static_cast<uint8_t *>(memory);
    }
    ~Buffer() { std::free(data); }
    Buffer(const Buffer &) = delete;
    Buffer &operator=(const Buffer &) = delete;

    bool read(std::FILE *file) { return std::fread(data, 1, size, file) == size; }
};

int replay(m3vit_fast *engine, std::FILE *file, int *records) {
    Header h;
    while (std::fread(&h, sizeof h, 1, file) == 1) {
        Buffer bank(h.bank_bytes), frame(h.frame_bytes), result(h.result_bytes);
        Buffer bank_after(h.bank_bytes), result_after(h.result_bytes);
        if (!bank.read(file) || !frame.read(file) || !result.read(file) || !bank_after.read(file) ||
            !result_after.read(file))
            return std::fprintf(stderr, "record %d is cut off\n", *records), 2;
        const m3vit_fast_memory memory{
            bank.data, frame.data, result.data, h.bank_bytes, h.frame_bytes, h.result_bytes, 1};
        const m3vit_fast_capacity capacity{h.capacity[0], h.capacity[1], h.capacity[2]};
        const m3vit_fast_layout layout{h.layout[0], h.layout[1], h.layout[2], h.layout[3]};
        m3vit_fast_pending pending{h.before[0], h.before[1], h.before[2], h.before[3]};
        uint32_t code, pc = 0;
        if (h.is_run) {
            m3vit_fast_run_args args{1, h.task, 0, memory, capacity, 0};
            code = m3vit_fast_run(engine, &args);
            pc = args.pc;
        } else {
            code = m3vit_fast_step(engine, h.words, &memory, &layout, &capacity, &pending);
            if (pending.count != h.after[0]) code = 9999;
        }
        if (code != h.code || pc != h.pc ||
            std::memcmp(bank.data, bank_after.data, bank.size) != 0 ||
            std::memcmp(result.data, result_after.data, result.size) != 0)
            return std::fprintf(stderr, "record %d: code %u at %u, opcode %u\n", *records, code, pc,
                                h.words[0] & 255),
                   1;
        ++*records;
    }
    return 0;
}

}  // namespace

int main(int count, char **arguments) {
    if (count != 4) return 2;
    std::FILE *file = std::fopen(arguments[1], "rb");
    const uint32_t threads = static_cast<uint32_t>(std::atoi(arguments[3]));
    m3vit_fast *engine = m3vit_fast_create(threads, arguments[2]);
    if (!file || !engine) return std::fprintf(stderr, "no file or no such path\n"), 2;
    int records = 0;
    const int failed = replay(engine, file, &records);
    std::fclose(file);
    m3vit_fast_destroy(engine);
    if (!failed) std::printf("%d records\n", records);
    return failed;
}
