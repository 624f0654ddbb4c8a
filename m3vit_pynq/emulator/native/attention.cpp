// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// ATTENTION: heads are packed side by side, then every thread takes some queries
// of a head, scores them against all keys, and mixes the values.
#include <algorithm>

#include "context.h"

namespace fast {

using namespace m3vit;

namespace {

// What one head needs, and where it lies in the packed memory.
struct Heads {
    size_t n, padded;     // keys, and whole panels of them
    size_t dim, key_dim;  // channels; padded to the path's unit
    size_t query_bytes, query_row, key_bytes, value_bytes, offset_bytes;
    uint8_t *base;

    size_t head_bytes() const {
        return query_bytes + key_bytes + value_bytes + offset_bytes + 64 * sizeof(int32_t);
    }
    uint8_t *queries(size_t head) const { return base + head * head_bytes(); }
    int8_t *keys(size_t head) const {
        return reinterpret_cast<int8_t *>(queries(head) + query_bytes);
    }
    int8_t *values(size_t head) const { return keys(head) + key_bytes; }
    // What has to be added to a product with each key, and with each channel of the values.
    int32_t *key_offsets(size_t head) const {
        return reinterpret_cast<int32_t *>(values(head) + value_bytes);
    }
    int32_t *value_offsets(size_t head) const { return key_offsets(head) + padded; }
};

Heads heads_of(Context &c, const Instruction &i) {
    Heads h{};
    const size_t unit = static_cast<size_t>(c.path.unit);
    h.n = i.rows;
    h.padded = up(h.n, PANEL);
    h.dim = i.head_dim;
    h.key_dim = up(h.dim, unit);
    h.query_row = 64 * static_cast<size_t>(c.path.element);
    h.query_bytes = up(h.n, MAX_TILE) * h.query_row;
    h.key_bytes = h.padded * h.key_dim;
    h.value_bytes = h.padded * h.dim;
    h.offset_bytes = h.padded * sizeof(int32_t);
    h.base = c.extra.reserve(i.heads * h.head_bytes());
    return h;
}

// Channels of one head of one token: `plane` is the first plane of the tensor.
const int8_t *channels(const Context &c, const Instruction &i, uint32_t plane, size_t head,
                       size_t token) {
    const size_t first = head * i.head_dim;
    const uint64_t at = i.src + (uint64_t{plane} + first / 64) * i.src_stride + token;
    return c.table(at) + first % 64;
}

void pack_queries(Context &c, const Instruction &i, const Heads &h, size_t head) {
    alignas(64) int8_t line[64] = {};
    for (size_t t = 0; t < h.n; ++t) {
        std::memcpy(line, channels(c, i, 0, head, t), h.dim);
        c.path.pack(line, 64, h.queries(head) + t * h.query_row);
    }
}

template <size_t GROUP>
void pack_keys(Context &c, const Instruction &i, const Heads &h, size_t head) {
    int8_t *to = h.keys(head);
    int32_t *offsets = h.key_offsets(head);
    const int32_t each = -c.path.signed_offset;
    std::memset(to, 0, h.key_bytes);
    for (size_t t = 0; t < h.padded; ++t) {
        offsets[t] = 0;
        if (t >= h.n) continue;
        const int8_t *key = channels(c, i, i.k_offset, head, t);
        int8_t *at = to + t / PANEL * PANEL * h.key_dim + t % PANEL * GROUP;
        int32_t sum = 0;
        for (size_t k = 0; k < h.dim; k += GROUP) std::memcpy(at + k * PANEL, key + k, GROUP);
        for (size_t k = 0; k < h.dim; ++k) sum += key[k];
        offsets[t] = each * sum;
    }
}

template <size_t GROUP>
void pack_values(Context &c, const Instruction &i, const Heads &h, size_t head) {
    int8_t *to = h.values(head);
    int32_t sums[64] = {};
    for (size_t t = 0; t < h.padded; t += GROUP, to += h.dim * GROUP) {
        alignas(64) int8_t rows[GROUP][64] = {};
        for (size_t g = 0; g < GROUP && t + g < h.n; ++g)
            std::memcpy(rows[g], channels(c, i, i.v_offset, head, t + g), h.dim);
        for (size_t k = 0; k < h.dim; ++k)
            for (size_t g = 0; g < GROUP; ++g) {
                to[k * GROUP + g] = rows[g][k];
                sums[k] += rows[g][k];
            }
    }
    for (size_t k = 0; k < h.dim; ++k) h.value_offsets(head)[k] = -c.path.unsigned_offset * sums[k];
}

template <size_t GROUP>
void pack_part(Context &c, const Instruction &i, const Heads &h, uint32_t item) {
    switch (item % 3) {
    case 0: return pack_queries(c, i, h, item / 3);
    case 1: return pack_keys<GROUP>(c, i, h, item / 3);
    default: return pack_values<GROUP>(c, i, h, item / 3);
    }
}

int bit_length(uint64_t x) { return x ? 64 - __builtin_clzll(x) : 0; }

// The factor that takes the place of a division by the sum of a row's probabilities.
struct MeanScale {
    int32_t mult, shift;
};

MeanScale mean_scale(const Instruction &i, uint32_t sum) {
    const int n = bit_length(sum);
    const uint64_t inverse = std::min<uint64_t>((1u << 18) - 1, (uint64_t{1} << (n + 17)) / sum);
    const uint64_t product = inverse * i.mult_b;
    const int cut = std::max(0, bit_length(product) - 16);
    const uint64_t half = (uint64_t{1} << cut) >> 1;
    const uint64_t mult = std::min<uint64_t>(65535, (product + half) >> cut);
    const int shift = static_cast<int>(i.shift_b) + n + 17 - cut - (i.passes == 1 ? 0 : 4);
    return {static_cast<int32_t>(mult), std::min(47, shift)};
}

// One thread's rows of scores and probabilities.
struct Work {
    int16_t *scores;
    uint8_t *high, *low;
    size_t probability_row;
    int32_t *acc, *acc_low;
};

void score(Context &c, const Instruction &i, const Heads &h, size_t head, size_t first,
           int32_t rows, const Work &w) {
    const ScoreScale scale{static_cast<int32_t>(i.mult_a), static_cast<int32_t>(i.shift_a)};
    Dot dot{};
    dot.a = h.queries(head) + first * h.query_row;
    dot.row_bytes = h.query_row;
    dot.rows = rows;
    dot.cols = PANEL;
    dot.k = static_cast<int32_t>(h.key_dim);
    dot.segments = 1;
    dot.out = w.acc;
    for (size_t key = 0; key < h.padded; key += PANEL) {
        dot.b = h.keys(head) + key * h.key_dim;
        c.path.dot(dot);
        c.path.scores(w.acc, rows, h.key_offsets(head) + key,
                      static_cast<int32_t>(std::min<size_t>(PANEL, h.n - key)), scale,
                      w.scores + key, h.padded);
    }
}

void mix(Context &c, const Instruction &i, const Heads &h, size_t head, size_t first, int32_t rows,
         const uint32_t *sums, const Work &w) {
    const bool split = i.passes != 1 && !c.path.wide;
    const int32_t dim = static_cast<int32_t>(h.dim);
    Dot dot{};
    dot.a = w.high;
    dot.row_bytes = w.probability_row;
    dot.b = h.values(head);
    dot.rows = rows;
    dot.cols = dim;
    dot.k = static_cast<int32_t>(h.padded);
    dot.segments = 1;
    dot.is_unsigned = true;
    dot.out = w.acc;
    c.path.dot(dot);
    if (split) {
        dot.a = w.low;
        dot.out = w.acc_low;
        c.path.dot(dot);
    }
    const int32_t *offsets = h.value_offsets(head);
    const bool last = head + 1 == i.heads;
    for (int32_t r = 0; r < rows; ++r) {
        int32_t *a = w.acc + r * PANEL;
        const int32_t *low = w.acc_low + r * PANEL;
        if (split)
            for (int32_t k = 0; k < dim; ++k) a[k] = 16 * (a[k] + offsets[k]) + low[k] + offsets[k];
        else if (c.path.unsigned_offset)
            for (int32_t k = 0; k < dim; ++k) a[k] += offsets[k];
        const MeanScale scale = mean_scale(i, sums[r]);
        const size_t at = head * h.dim;
        uint8_t *line = c.line(i.dst + (first + static_cast<size_t>(r)) * i.dst_stride + at / 64);
        int8_t *to = reinterpret_cast<int8_t *>(line) + at % 64;
        c.path.mix(a, dim, i.passes == 1 ? 0 : 4, scale.mult, scale.shift, to);
        if (last) std::memset(to + h.dim, 0, 64 - (at % 64 + h.dim));
    }
}

}  // namespace

void attention(Context &c, const Instruction &i) {
    const Heads h = heads_of(c, i);
    const size_t tile = static_cast<size_t>(c.path.tile),
                 element = static_cast<size_t>(c.path.element);
    const size_t row = h.padded * element, scores = up(tile * h.padded * 2, 64);
    for (Scratch &s : c.scratch) s.block.reserve(scores + 2 * tile * row);
    c.pool.run(3 * i.heads, [&](uint32_t item, int) {
        switch (c.path.group) {
        case 1: return pack_part<1>(c, i, h, item);
        case 2: return pack_part<2>(c, i, h, item);
        default: return pack_part<4>(c, i, h, item);
        }
    });
    const size_t block = up(std::max<size_t>(64, h.n / 64), tile);
    const size_t blocks = (h.n + block - 1) / block;
    c.pool.run(static_cast<uint32_t>(i.heads * blocks), [&](uint32_t item, int thread) {
        const Multiplying multiplying(c.path);
        const size_t head = item / blocks, begin = item % blocks * block;
        Scratch &s = c.scratch[static_cast<size_t>(thread)];
        uint8_t *at = s.block.data();
        const Work w{reinterpret_cast<int16_t *>(at),
                     at + scores,
                     at + scores + tile * row,
                     row,
                     s.acc[0],
                     s.acc[1]};
        for (size_t first = begin; first < std::min(h.n, begin + block); first += tile) {
            const int32_t rows = static_cast<int32_t>(std::min(tile, h.n - first));
            uint32_t sums[MAX_TILE];
            score(c, i, h, head, first, rows, w);
            for (int32_t r = 0; r < rows; ++r) {
                const size_t offset = static_cast<size_t>(r) * row;
                sums[r] = c.path.softmax(w.scores + static_cast<size_t>(r) * h.padded,
                                         static_cast<int32_t>(h.n), i.passes == 1 ? 1 : 2,
                                         w.high + offset, w.low + offset);
            }
            mix(c, i, h, head, first, rows, sums, w);
        }
    });
}

}  // namespace fast
