// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// Which paths this processor has.
#include "path.h"

#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif
#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace fast {

namespace {

#if defined(__x86_64__)
bool has_avx512() {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vnni");
}

// AVX-VNNI and AMX are not among the names that every supported compiler knows.
bool cpuid_bit(unsigned leaf, unsigned subleaf, int reg, int bit) {
    unsigned r[4];
    if (!__get_cpuid_count(leaf, subleaf, &r[0], &r[1], &r[2], &r[3])) return false;
    return r[reg] >> bit & 1;
}

bool has_avxvnni() { return __builtin_cpu_supports("avx2") && cpuid_bit(7, 1, 0, 4); }

// The processor has AMX with INT8, and the kernel lets this process use its tiles.
bool has_amx() {
#if defined(__linux__)
    constexpr int TILE = 24, INT8 = 25, PERMIT = 0x1023, TILE_DATA = 18;
    return has_avx512() && cpuid_bit(7, 0, 3, TILE) && cpuid_bit(7, 0, 3, INT8) &&
           syscall(SYS_arch_prctl, PERMIT, TILE_DATA) == 0;
#else
    return false;
#endif
}
#endif

struct Available {
    const Path *paths[6] = {};
    Available() {
        int n = 0;
#if defined(__x86_64__)
        __builtin_cpu_init();
#if !defined(M3VIT_WITHOUT_PATH_AMX)
        if (has_amx()) paths[n++] = &path_amx;
#endif
#if !defined(M3VIT_WITHOUT_PATH_AVX512)
        if (has_avx512()) paths[n++] = &path_avx512;
#endif
#if !defined(M3VIT_WITHOUT_PATH_AVXVNNI)
        if (has_avxvnni()) paths[n++] = &path_avxvnni;
#endif
#if !defined(M3VIT_WITHOUT_PATH_AVX2)
        if (__builtin_cpu_supports("avx2")) paths[n++] = &path_avx2;
#endif
#elif defined(__aarch64__) && defined(__linux__)
#if !defined(M3VIT_WITHOUT_PATH_DOTPROD)
        constexpr unsigned long DOTPROD = 1ul << 20;
        if (getauxval(AT_HWCAP) & DOTPROD) paths[n++] = &path_dotprod;
#endif
#elif defined(__aarch64__)
        paths[n++] = &path_dotprod;  // every Apple processor has it
#endif
        paths[n] = &path_plain;
    }
};

}  // namespace

const Path *const *available_paths() {
    static const Available available;
    return available.paths;
}

}  // namespace fast
