// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// Packed rows times packed layers, shared among the threads.
#ifndef M3VIT_FAST_MULTIPLY_H
#define M3VIT_FAST_MULTIPLY_H

#include <algorithm>

#include "context.h"

namespace fast {

// Rows `first` to `first + count` of the packed rows times one layer.
struct Share {
    Layer *layer;
    size_t first, count;
    uint32_t expert;
};

// How packed rows lie; see Dot.
struct Rows {
    const uint8_t *data;
    size_t row_bytes, segment_bytes;
    int32_t k, segments;
};

struct MultiplyItem {
    uint32_t share, panel;
    size_t begin, end;  // rows of the share
};

// Panels and stretches of `unit` rows such that every thread finds several items.
std::vector<MultiplyItem> divide(const std::vector<Share> &, size_t unit, int threads);

// Calls prepare(i) for i < others, and makes all panels of the shares right.
template <typename Other>
void prepare_all(Context &c, const std::vector<Share> &shares, uint32_t others,
                 const Other &prepare) {
    std::vector<std::pair<Layer *, size_t>> panels;
    for (const Share &share : shares)
        for (size_t p = 0; p < share.layer->panels.size(); ++p) panels.push_back({share.layer, p});
    // Experts may name the same layer: each panel once.
    std::sort(panels.begin(), panels.end());
    panels.erase(std::unique(panels.begin(), panels.end()), panels.end());
    c.pool.run(others + static_cast<uint32_t>(panels.size()), [&](uint32_t item, int) {
        if (item < others) return prepare(item);
        const auto &panel = panels[item - others];
        c.weights.prepare(*panel.first, panel.second, c.memory.bank, c.memory.verify != 0,
                          &c.packs);
    });
}

// finish(share, panel, row of the share, rows, accumulators) for every tile.
template <typename Finish>
void multiply(Context &c, const Rows &rows, const std::vector<Share> &shares,
              const std::vector<MultiplyItem> &items, const Finish &finish) {
    const size_t tile = static_cast<size_t>(c.path.tile);
    c.pool.run(static_cast<uint32_t>(items.size()), [&](uint32_t index, int thread) {
        const Multiplying multiplying(c.path);
        const MultiplyItem &item = items[index];
        const Share &share = shares[item.share];
        const Panel &panel = share.layer->panels[item.panel];
        int32_t *acc = c.scratch[static_cast<size_t>(thread)].acc[0];
        Dot dot{};
        dot.row_bytes = rows.row_bytes;
        dot.segment_bytes = rows.segment_bytes;
        dot.b = panel.weights;
        dot.cols = panel.cols;
        dot.k = rows.k;
        dot.segments = rows.segments;
        dot.out = acc;
        // The weights of the item after this one come nearer with every tile.
        const size_t ahead = index + static_cast<size_t>(c.pool.threads());
        const Panel *next = nullptr;
        if (ahead < items.size())
            next = &shares[items[ahead].share].layer->panels[items[ahead].panel];
        const size_t bytes =
            next ? static_cast<size_t>(next->cols) * static_cast<size_t>(share.layer->k) : 0;
        const size_t tiles = (item.end - item.begin + tile - 1) / tile;
        const size_t step = up((bytes + tiles - 1) / tiles, 64);
        size_t fetched = next == &panel ? bytes : 0;
        for (size_t r = item.begin; r < item.end; r += tile) {
            for (const size_t end = std::min(bytes, fetched + step); fetched < end; fetched += 64)
                __builtin_prefetch(next->weights + fetched, 0, 2);
            dot.a = rows.data + (share.first + r) * rows.row_bytes;
            dot.rows = static_cast<int32_t>(std::min(tile, item.end - r));
            c.path.dot(dot);
            finish(share, item.panel, r, dot.rows, acc);
        }
    });
}

}  // namespace fast

#endif
