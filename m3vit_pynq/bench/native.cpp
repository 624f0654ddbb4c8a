// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// See native.py. Linux on x86-64.
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>

namespace {

double now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

// Every function executes `rounds` times eight (AMX: four) instructions that do not wait
// for each other, and says how many products that was.

double run_avx512(long rounds) {
    asm volatile(
        "1:\n"
        "vpdpbusd %%zmm30, %%zmm31, %%zmm0\n vpdpbusd %%zmm30, %%zmm31, %%zmm1\n"
        "vpdpbusd %%zmm30, %%zmm31, %%zmm2\n vpdpbusd %%zmm30, %%zmm31, %%zmm3\n"
        "vpdpbusd %%zmm30, %%zmm31, %%zmm4\n vpdpbusd %%zmm30, %%zmm31, %%zmm5\n"
        "vpdpbusd %%zmm30, %%zmm31, %%zmm6\n vpdpbusd %%zmm30, %%zmm31, %%zmm7\n"
        "vpdpbusd %%zmm30, %%zmm31, %%zmm8\n vpdpbusd %%zmm30, %%zmm31, %%zmm9\n"
        "vpdpbusd %%zmm30, %%zmm31, %%zmm10\n vpdpbusd %%zmm30, %%zmm31, %%zmm11\n"
        "dec %0\n jnz 1b\n"
        "vzeroupper\n"
        : "+r"(rounds)
        :
        : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
          "xmm11", "cc");
    return 12 * 64;
}

double run_avxvnni(long rounds) {
    asm volatile(
        "1:\n"
        "%{vex%} vpdpbusd %%ymm14, %%ymm15, %%ymm0\n %{vex%} vpdpbusd %%ymm14, %%ymm15, %%ymm1\n"
        "%{vex%} vpdpbusd %%ymm14, %%ymm15, %%ymm2\n %{vex%} vpdpbusd %%ymm14, %%ymm15, %%ymm3\n"
        "%{vex%} vpdpbusd %%ymm14, %%ymm15, %%ymm4\n %{vex%} vpdpbusd %%ymm14, %%ymm15, %%ymm5\n"
        "%{vex%} vpdpbusd %%ymm14, %%ymm15, %%ymm6\n %{vex%} vpdpbusd %%ymm14, %%ymm15, %%ymm7\n"
        "%{vex%} vpdpbusd %%ymm14, %%ymm15, %%ymm8\n %{vex%} vpdpbusd %%ymm14, %%ymm15, %%ymm9\n"
        "%{vex%} vpdpbusd %%ymm14, %%ymm15, %%ymm10\n %{vex%} vpdpbusd %%ymm14, %%ymm15, %%ymm11\n"
        "dec %0\n jnz 1b\n"
        "vzeroupper\n"
        : "+r"(rounds)
        :
        : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
          "xmm11", "cc");
    return 12 * 32;
}

double run_avx2(long rounds) {
    asm volatile(
        "1:\n"
        "vpmaddwd %%ymm14, %%ymm15, %%ymm12\n vpaddd %%ymm12, %%ymm0, %%ymm0\n"
        "vpmaddwd %%ymm14, %%ymm15, %%ymm13\n vpaddd %%ymm13, %%ymm1, %%ymm1\n"
        "vpmaddwd %%ymm14, %%ymm15, %%ymm12\n vpaddd %%ymm12, %%ymm2, %%ymm2\n"
        "vpmaddwd %%ymm14, %%ymm15, %%ymm13\n vpaddd %%ymm13, %%ymm3, %%ymm3\n"
        "vpmaddwd %%ymm14, %%ymm15, %%ymm12\n vpaddd %%ymm12, %%ymm4, %%ymm4\n"
        "vpmaddwd %%ymm14, %%ymm15, %%ymm13\n vpaddd %%ymm13, %%ymm5, %%ymm5\n"
        "vpmaddwd %%ymm14, %%ymm15, %%ymm12\n vpaddd %%ymm12, %%ymm6, %%ymm6\n"
        "vpmaddwd %%ymm14, %%ymm15, %%ymm13\n vpaddd %%ymm13, %%ymm7, %%ymm7\n"
        "dec %0\n jnz 1b\n"
        "vzeroupper\n"
        : "+r"(rounds)
        :
        : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm12", "xmm13", "cc");
    return 8 * 16;
}

// Sixteen rows of 64 bytes in each of eight tiles.
struct alignas(64) TileConfig {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t bytes[16] = {};
    uint8_t rows[16] = {};
};

double run_amx(long rounds) {
    TileConfig config;
    for (int t = 0; t < 8; ++t) {
        config.bytes[t] = 64;
        config.rows[t] = 16;
    }
    asm volatile(
        "ldtilecfg %1\n"
        "tilezero %%tmm0\n tilezero %%tmm1\n tilezero %%tmm2\n tilezero %%tmm3\n"
        "tilezero %%tmm4\n tilezero %%tmm5\n tilezero %%tmm6\n tilezero %%tmm7\n"
        "1:\n"
        "tdpbssd %%tmm6, %%tmm4, %%tmm0\n tdpbssd %%tmm7, %%tmm4, %%tmm1\n"
        "tdpbssd %%tmm6, %%tmm5, %%tmm2\n tdpbssd %%tmm7, %%tmm5, %%tmm3\n"
        "dec %0\n jnz 1b\n"
        "tilerelease\n"
        : "+r"(rounds)
        : "m"(config)
        : "cc");
    return 4.0 * 16 * 16 * 64;
}

constexpr int GET_CPUID = 0x1011, SET_CPUID = 0x1012, REQUEST_TILES = 0x1023, TILE_DATA = 18;
int hidden = 0;

void switch_cpuid(bool on) { syscall(SYS_arch_prctl, SET_CPUID, static_cast<long>(on)); }

// Answers a CPUID that faulted: as the processor does, without the hidden instructions.
void answer(int signal, siginfo_t *, void *context) {
    greg_t *registers = static_cast<ucontext_t *>(context)->uc_mcontext.gregs;
    const uint8_t *code = reinterpret_cast<const uint8_t *>(registers[REG_RIP]);
    if (code[0] != 0x0F || code[1] != 0xA2) {
        struct sigaction standard = {};
        standard.sa_handler = SIG_DFL;
        sigaction(signal, &standard, nullptr);
        return;  // the same instruction faults again, for good
    }
    const uint32_t leaf = static_cast<uint32_t>(registers[REG_RAX]);
    const uint32_t sub = static_cast<uint32_t>(registers[REG_RCX]);
    uint32_t a = leaf, b = 0, c = sub, d = 0;
    switch_cpuid(true);
    asm volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    switch_cpuid(false);
    if (leaf == 1 && hidden & 8) c &= ~(1u << 12 | 1u << 28 | 1u << 29);
    if (leaf == 7 && sub == 0) {
        if (hidden & 8) b &= ~(1u << 5);
        if (hidden & 1) d &= ~(1u << 22 | 1u << 24 | 1u << 25);
        if (hidden & 2) {
            b &= ~(1u << 16 | 1u << 17 | 1u << 21 | 1u << 26 | 1u << 27 | 1u << 28 | 1u << 30 |
                   1u << 31);
            c &= ~(1u << 1 | 1u << 6 | 1u << 11 | 1u << 12 | 1u << 14);
            d &= ~(1u << 2 | 1u << 3 | 1u << 8 | 1u << 23);
        }
    }
    if (leaf == 7 && sub == 1) {
        if (hidden & 1) a &= ~(1u << 21);
        if (hidden & 2) a &= ~(1u << 5);
        if (hidden & 4) {
            a &= ~(1u << 4 | 1u << 23);
            d &= ~(1u << 4 | 1u << 5 | 1u << 10);
        }
    }
    registers[REG_RAX] = a;
    registers[REG_RBX] = b;
    registers[REG_RCX] = c;
    registers[REG_RDX] = d;
    registers[REG_RIP] += 2;
}

struct sigaction before;

}  // namespace

// Products per second, the best of some rounds; 0 for a path that is not known.
extern "C" double m3vit_bench_peak(const char *path) {
    double (*run)(long) = nullptr;
    if (!strcmp(path, "avx512")) run = run_avx512;
    if (!strcmp(path, "avxvnni")) run = run_avxvnni;
    if (!strcmp(path, "avx2")) run = run_avx2;
    if (!strcmp(path, "amx") && !syscall(SYS_arch_prctl, REQUEST_TILES, TILE_DATA)) run = run_amx;
    if (!run) return 0;
    const long rounds = run == run_amx ? 100000 : 2000000;
    double best = 0;
    for (int turn = 0; turn < 5; ++turn) {
        const double began = now(), products = run(rounds) * rounds;
        const double rate = products / (now() - began);
        best = rate > best ? rate : best;
    }
    return best;
}

// Hides instructions from whoever asks in this thread and those it starts; -1 ends that.
// Returns 0 if it is so.
extern "C" int m3vit_bench_limit(int level) {
    if (level < 0) {
        switch_cpuid(true);
        return sigaction(SIGSEGV, &before, nullptr);
    }
    struct sigaction handler = {};
    handler.sa_sigaction = answer;
    handler.sa_flags = SA_SIGINFO | SA_NODEFER;
    hidden = level;
    if (sigaction(SIGSEGV, &handler, &before)) return -1;
    if (!syscall(SYS_arch_prctl, SET_CPUID, 0L)) return 0;
    sigaction(SIGSEGV, &before, nullptr);
    return -1;
}
