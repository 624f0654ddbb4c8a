// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// GATE, EXPERTS_UP and EXPERTS_DOWN.
#include "multiply.h"

namespace fast {

using namespace m3vit;

namespace {

int64_t rshift(int64_t x, int n) { return n ? (x + (int64_t{1} << (n - 1))) >> n : x; }

// The record of one token from its logits.
void route(const int32_t *logits, const Instruction &i, uint8_t *record) {
    const int experts = static_cast<int>(i.experts), top_k = static_cast<int>(i.top_k);
    int32_t value[MAX_EXPERTS];
    std::memcpy(value, logits, 4 * static_cast<size_t>(experts));
    bool taken[MAX_EXPERTS] = {};
    int chosen[MAX_TOP_K] = {};
    for (int k = 0; k < top_k; ++k) {
        int best = -1;
        for (int e = 0; e < experts; ++e)
            if (!taken[e] && (best < 0 || value[e] > value[best])) best = e;
        taken[best] = true;
        chosen[k] = best;
    }
    const int64_t largest = value[chosen[0]];
    uint64_t power[MAX_EXPERTS], total = 0;
    for (int e = 0; e < experts; ++e) {
        const int64_t delta = (largest - value[e] + 128) >> 8, octaves = delta >> 8;
        power[e] =
            octaves > 31
                ? 0
                : static_cast<uint64_t>(rshift(GATE_TABLE[delta & 255], static_cast<int>(octaves)));
        if (i.gate_mode == GATE_SOFTMAX_ALL) total += power[e];
    }
    if (i.gate_mode != GATE_SOFTMAX_ALL)
        for (int k = 0; k < top_k; ++k) total += power[chosen[k]];
    std::memset(record, 0, 64);
    for (int k = 0; k < top_k; ++k) {
        const uint16_t expert = static_cast<uint16_t>(chosen[k]);
        const uint16_t gate =
            static_cast<uint16_t>(std::min<uint64_t>(65535, (power[chosen[k]] << 16) / total));
        std::memcpy(record + RECORD_ENTRY * k, &expert, 2);
        std::memcpy(record + RECORD_ENTRY * k + 2, &gate, 2);
    }
}

struct Entry {
    uint32_t token;
    uint16_t gate, slot;
};

// All queues one behind the other; expert e has positions first[e] to first[e + 1].
struct Queues {
    std::vector<Entry> entries;
    size_t first[MAX_EXPERTS + 1];
};

Queues queues_of(const Context &c, const Instruction &i) {
    const uint32_t top_k = i.top_k;
    struct Found {
        uint16_t expert;
        Entry entry;
    };
    std::vector<Found> found;
    size_t count[MAX_EXPERTS] = {};
    for (uint32_t t = 0; t < i.rows; ++t) {
        const uint8_t *record = c.line(uint64_t{i.records} + t);
        uint16_t expert[MAX_TOP_K], gate[MAX_TOP_K];
        for (uint32_t k = 0; k < top_k; ++k) {
            std::memcpy(&expert[k], record + RECORD_ENTRY * k, 2);
            std::memcpy(&gate[k], record + RECORD_ENTRY * k + 2, 2);
        }
        for (uint32_t k = 0; k < top_k; ++k) {
            if (expert[k] >= i.experts) continue;
            bool first = true;
            uint16_t slot = 0;
            for (uint32_t j = 0; j < top_k; ++j) {
                if (j < k && expert[j] == expert[k]) first = false;
                if (expert[j] < expert[k] || (expert[j] == expert[k] && j < k)) ++slot;
            }
            if (!first) continue;
            found.push_back({expert[k], {t, gate[k], slot}});
            ++count[expert[k]];
        }
    }
    Queues q;
    size_t next[MAX_EXPERTS];
    q.first[0] = 0;
    for (uint32_t e = 0; e < i.experts; ++e) {
        next[e] = q.first[e];
        q.first[e + 1] = q.first[e] + count[e];
    }
    q.entries.resize(found.size());
    for (const Found &f : found) q.entries[next[f.expert]++] = f.entry;
    return q;
}

std::vector<Share> shares_of(Context &c, const Instruction &i, const Queues &q) {
    std::vector<Share> shares;
    for (uint32_t e = 0; e < i.experts; ++e)
        if (q.first[e + 1] > q.first[e])
            shares.push_back(
                {&c.weights.layer({i.weights + uint64_t{e} * i.expert_lines, c.layout.part_lines,
                                   i.cols_out, static_cast<uint32_t>(matrix_cols(i)),
                                   i.opcode == OP_EXPERTS_DOWN}),
                 q.first[e], q.first[e + 1] - q.first[e], e});
    return shares;
}

// Packs the row of every position and runs the experts on their queues.
template <typename Line, typename Finish>
void run_experts(Context &c, const Instruction &i, const Queues &q, const Line &line,
                 const Finish &finish) {
    const std::vector<Share> shares = shares_of(c, i, q);
    c.experts_used = static_cast<uint32_t>(shares.size());
    if (shares.empty()) return;
    const size_t element = static_cast<size_t>(c.path.element),
                 tile = static_cast<size_t>(c.path.tile);
    const size_t bytes = matrix_cols(i);
    const size_t row_bytes = static_cast<size_t>(shares[0].layer->k) * element;
    const size_t count = q.entries.size();
    const auto items = divide(shares, tile, c.pool.threads());
    uint8_t *packed = c.rows.reserve((count + tile) * row_bytes);
    const size_t block = 64;
    prepare_all(c, shares, static_cast<uint32_t>((count + block - 1) / block), [&](uint32_t item) {
        for (size_t p = item * block; p < std::min(count, (item + 1) * block); ++p)
            c.path.pack(c.table(line(p)), bytes, packed + p * row_bytes);
    });
    multiply(c, {packed, row_bytes, 0, shares[0].layer->k, 1}, shares, items, finish);
}

}  // namespace

void gate(Context &c, const Instruction &i) {
    if (i.per_image) {
        alignas(64) uint8_t record[64];
        alignas(64) int32_t logits[MAX_EXPERTS];
        std::memcpy(logits, c.line(i.src), 4 * static_cast<size_t>(i.experts));
        route(logits, i, record);
        for (uint32_t r = 0; r < i.rows; ++r) std::memcpy(c.line(uint64_t{i.dst} + r), record, 64);
        return;
    }
    const uint32_t block = 32;
    c.pool.run((i.rows + block - 1) / block, [&](uint32_t item, int) {
        for (uint32_t r = item * block; r < std::min(i.rows, (item + 1) * block); ++r) {
            const uint8_t *row = c.line(i.src + uint64_t{r} * i.src_stride);
            route(reinterpret_cast<const int32_t *>(row), i, c.line(uint64_t{i.dst} + r));
        }
    });
}

void experts_up(Context &c, const Instruction &i) {
    const Queues q = queues_of(c, i);
    const uint64_t width = lines(i.cols_out);
    run_experts(
        c, i, q, [&](size_t p) { return i.src + uint64_t{q.entries[p].token} * i.src_stride; },
        [&](const Share &share, uint32_t panel, size_t first, int32_t rows, const int32_t *acc) {
            uint8_t *to[MAX_TILE];
            for (int32_t r = 0; r < rows; ++r)
                to[r] =
                    c.line(i.dst + (share.first + first + static_cast<size_t>(r)) * width + panel);
            c.path.finish8(acc, rows, *share.layer->panels[panel].params,
                           static_cast<int32_t>(i.activation),
                           c.table(i.table + 4 * uint64_t{share.expert}), to);
        });
}

void experts_down(Context &c, const Instruction &i) {
    const Queues q = queues_of(c, i);
    const uint64_t hidden = lines(i.cols_in), width = lines(2 * i.cols_out);
    run_experts(
        c, i, q, [&](size_t p) { return i.src + p * hidden; },
        [&](const Share &share, uint32_t panel, size_t first, int32_t rows, const int32_t *acc) {
            uint8_t *to[MAX_TILE];
            uint16_t gates[MAX_TILE];
            for (int32_t r = 0; r < rows; ++r) {
                const Entry &entry = q.entries[share.first + first + static_cast<size_t>(r)];
                const uint64_t slot = i.first_slot + entry.slot;
                gates[r] = entry.gate;
                to[r] = c.line(i.dst + (slot * i.rows + entry.token) * width + 2 * uint64_t{panel});
            }
            c.path.finish_gated(acc, rows, *share.layer->panels[panel].params, gates, to);
        });
}

}  // namespace fast
