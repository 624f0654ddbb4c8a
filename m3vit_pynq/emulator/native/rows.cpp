// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// LOAD_PATCHES, LOAD_RESIDUAL and LAYERNORM.
#include <algorithm>

#include "context.h"

namespace fast {

using namespace m3vit;

namespace {

constexpr uint32_t BLOCK = 32;  // rows of an item

uint32_t blocks(uint32_t rows) { return (rows + BLOCK - 1) / BLOCK; }

}  // namespace

void load_patches(Context &c, const Instruction &i) {
    const uint32_t across = i.width / i.patch;
    const size_t run = 3 * i.patch, bytes = run * i.patch;
    const size_t padded = 64 * lines(bytes);
    c.pool.run(i.height / i.patch, [&](uint32_t gy, int) {
        for (uint32_t gx = 0; gx < across; ++gx) {
            const uint64_t row = uint64_t{gy} * across + gx;
            uint8_t *to = c.line(i.dst + row * i.dst_stride);
            const uint8_t *from =
                c.memory.frame + 3 * (uint64_t{gy} * i.patch * i.width + gx * i.patch);
            for (uint32_t ky = 0; ky < i.patch; ++ky, to += run, from += 3 * size_t{i.width})
                for (size_t b = 0; b < run; ++b) to[b] = from[b] ^ 0x80;
            std::memset(to, 0, padded - bytes);
        }
    });
}

void load_residual(Context &c, const Instruction &i) {
    const uint64_t width = lines(2 * i.cols_out);
    for (uint64_t r = 0; r < i.rows; ++r)
        std::memcpy(c.line(i.dst + r * i.dst_stride), c.line(i.table + r * width), 64 * width);
}

namespace {

// The table of a LAYERNORM as the paths want it.
struct NormTable {
    alignas(64) int32_t gamma[MAX_LAYERNORM] = {};
    alignas(64) int32_t gamma_odd[MAX_LAYERNORM] = {};
    alignas(64) int64_t beta[MAX_LAYERNORM] = {};

    NormTable(const int8_t *table, uint32_t channels, uint32_t shift) {
        const int64_t half = int64_t{1} << (shift - 1);
        for (uint32_t k = 0; k < channels; ++k, table += 8) {
            int32_t b;
            int16_t g;
            std::memcpy(&b, table, 4);
            std::memcpy(&g, table + 4, 2);
            gamma[k] = g;
            if (k & 1) gamma_odd[k - 1] = g;
            beta[M3VIT_EVEN_ODD(k)] = b + half;
        }
    }
};

uint32_t root_of(uint64_t x) {  // floor(sqrt(x)) of at most 36 bits
    uint32_t root = 0;
    for (uint32_t bit = 1u << 17; bit; bit >>= 1) {
        const uint64_t next = root | bit;
        if (next * next <= x) root |= bit;
    }
    return root;
}

void normalise_row(const Context &c, const Instruction &i, const NormTable &table, const int16_t *x,
                   int8_t *out) {
    const uint64_t eps = uint64_t{i.eps_high} << 32 | i.eps_low;
    int32_t sum;
    uint64_t squares;
    c.path.moments(x, static_cast<int32_t>(i.cols_in), &sum, &squares);
    const uint64_t square = static_cast<uint64_t>(int64_t{sum} * sum);
    const uint64_t variance = i.cols_in * squares - square + eps;
    const int k = __builtin_clzll(variance) / 2;
    const uint32_t root = root_of((variance << (2 * k)) >> 28);
    const uint64_t inverse = std::min<uint64_t>((1u << 17) - 1, (uint64_t{1} << 34) / root);
    c.path.normalise({x, static_cast<int32_t>(i.cols_in), sum, static_cast<int32_t>(inverse),
                      34 - k, static_cast<int32_t>(i.shift_a), table.gamma, table.gamma_odd,
                      table.beta, out});
}

}  // namespace

void layernorm(Context &c, const Instruction &i) {
    const NormTable table(c.table(i.table), i.cols_in, i.shift_a);
    const uint64_t width = lines(2 * i.cols_in);
    c.pool.run(blocks(i.rows), [&](uint32_t item, int) {
        for (uint32_t r = item * BLOCK; r < std::min(i.rows, (item + 1) * BLOCK); ++r) {
            int16_t *x = reinterpret_cast<int16_t *>(c.line(i.src + uint64_t{r} * i.src_stride));
            for (uint64_t k = 0; k < i.slots; ++k)
                c.path.add_rows(x,
                                reinterpret_cast<const int16_t *>(
                                    c.line(i.slot_base + (k * i.rows + r) * width)),
                                static_cast<int32_t>(i.cols_in));
            if (i.slots) std::memset(x + i.cols_in, 0, 64 * width - 2 * i.cols_in);
            normalise_row(c, i, table, x,
                          reinterpret_cast<int8_t *>(c.line(i.dst + uint64_t{r} * i.dst_stride)));
        }
    });
}

}  // namespace fast
