// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// LINEAR and CONV3X3.
#include "multiply.h"

namespace fast {

using namespace m3vit;

std::vector<MultiplyItem> divide(const std::vector<Share> &shares, size_t unit, int threads) {
    size_t panels = 0, rows = 0;
    for (const Share &share : shares) {
        panels += share.layer->panels.size();
        rows = std::max(rows, share.count);
    }
    size_t block = rows;
    if (threads > 1) {
        const size_t wanted = 6 * static_cast<size_t>(threads);
        const size_t blocks = panels >= wanted ? 1 : (wanted + panels - 1) / panels;
        block = std::max<size_t>(up((rows + blocks - 1) / blocks, unit), up(16, unit));
    }
    std::vector<MultiplyItem> items;
    for (uint32_t s = 0; s < shares.size(); ++s)
        for (uint32_t p = 0; p < shares[s].layer->panels.size(); ++p)
            for (size_t begin = 0; begin < shares[s].count; begin += block)
                items.push_back({s, p, begin, std::min(shares[s].count, begin + block)});
    return items;
}

namespace {

constexpr size_t CHUNK_BYTES = size_t{8} << 20;  // of packed rows that are multiplied at a time

Layer &layer_of(Context &c, const Instruction &i) {
    return c.weights.layer(
        {i.weights, c.layout.part_lines, i.cols_out, static_cast<uint32_t>(matrix_cols(i)), false});
}

// Writes the rows of a tile; row r of the product is row first + r of the tensor.
void store(Context &c, const Instruction &i, const Panel &panel, uint32_t index, size_t first,
           int32_t rows, const int32_t *acc) {
    const uint64_t size = i.store == STORE_SCORES ? 4 : i.store == STORE_ACT8 ? 1 : 2;
    uint8_t *to[MAX_TILE];
    for (int32_t r = 0; r < rows; ++r) {
        const uint64_t row = first + static_cast<uint64_t>(r);
        to[r] = c.line(i.planar ? uint64_t{i.dst} + uint64_t{index} * i.dst_stride + row
                                : i.dst + row * i.dst_stride + index * size);
    }
    switch (i.store) {
    case STORE_ACT8:
        return c.path.finish8(acc, rows, *panel.params, static_cast<int32_t>(i.activation),
                              c.table(i.table), to);
    case STORE_SCORES: return c.path.finish32(acc, rows, *panel.params, to);
    default: return c.path.finish16(acc, rows, *panel.params, i.store == STORE_RESIDUAL, to);
    }
}

}  // namespace

void linear(Context &c, const Instruction &i) {
    const size_t element = static_cast<size_t>(c.path.element),
                 tile = static_cast<size_t>(c.path.tile);
    const size_t bytes = matrix_cols(i);
    std::vector<Share> shares{{&layer_of(c, i), 0, 0, 0}};
    const size_t row_bytes = static_cast<size_t>(shares[0].layer->k) * element;
    const size_t chunk = std::min<size_t>(up(i.rows, tile), up(CHUNK_BYTES / row_bytes, tile));
    uint8_t *packed = c.rows.reserve((chunk + tile) * row_bytes);
    const Rows rows{packed, row_bytes, 0, shares[0].layer->k, 1};
    for (size_t first = 0; first < i.rows; first += chunk) {
        shares[0].count = std::min<size_t>(chunk, i.rows - first);
        const size_t block = std::max<size_t>(16, shares[0].count / 16);
        const uint32_t blocks = static_cast<uint32_t>((shares[0].count + block - 1) / block);
        prepare_all(c, shares, blocks, [&](uint32_t item) {
            const size_t end = std::min(shares[0].count, (item + 1) * block);
            for (size_t r = item * block; r < end; ++r)
                c.path.pack(c.table(i.src + (first + r) * i.src_stride), bytes,
                            packed + r * row_bytes);
        });
        const auto items = divide(shares, tile, c.pool.threads());
        multiply(c, rows, shares, items,
                 [&](const Share &share, uint32_t panel, size_t r, int32_t n, const int32_t *acc) {
                     store(c, i, share.layer->panels[panel], panel, first + r, n, acc);
                 });
    }
}

// The packed map has a border of `pad`, so that the nine neighbours of a pixel are
// three contiguous stretches, and consecutive pixels are rows like those of LINEAR.
void conv3x3(Context &c, const Instruction &i) {
    const size_t element = static_cast<size_t>(c.path.element),
                 tile = static_cast<size_t>(c.path.tile);
    const size_t width = i.width, height = i.height, channels = 64 * lines(i.cols_in);
    const size_t pixel = channels * element, row = (width + 2) * pixel;
    std::vector<Share> shares{{&layer_of(c, i), 0, height * width, 0}};
    uint8_t *map = c.rows.reserve((height + 2) * row + tile * pixel);
    uint8_t *border = c.extra.reserve(channels + pixel);
    std::memset(border, static_cast<int>(i.pad), channels);
    c.path.pack(reinterpret_cast<const int8_t *>(border), channels, border + channels);
    prepare_all(c, shares, static_cast<uint32_t>(height + 2), [&](uint32_t y) {
        uint8_t *to = map + y * row;
        const bool inside = y >= 1 && y <= height;
        for (size_t x = 0; x < width + 2; ++x, to += pixel)
            if (inside && x >= 1 && x <= width)
                c.path.pack(c.table(i.src + ((y - 1) * width + x - 1) * i.src_stride), channels,
                            to);
            else
                std::memcpy(to, border + channels, pixel);
    });
    // Items are rows of the map; the tiles of multiply must not cross their ends.
    const size_t panels = shares[0].layer->panels.size();
    const size_t threads = static_cast<size_t>(c.pool.threads());
    const size_t band = std::max<size_t>(1, height * panels / (8 * threads));
    const size_t bands = (height + band - 1) / band;
    c.pool.run(static_cast<uint32_t>(panels * bands), [&](uint32_t item, int thread) {
        const Multiplying multiplying(c.path);
        const size_t index = item % panels, first = item / panels * band;
        const Panel &panel = shares[0].layer->panels[index];
        int32_t *acc = c.scratch[static_cast<size_t>(thread)].acc[0];
        Dot dot{};
        dot.row_bytes = pixel;
        dot.segment_bytes = row;
        dot.b = panel.weights;
        dot.cols = panel.cols;
        dot.k = static_cast<int32_t>(3 * channels);
        dot.segments = 3;
        dot.out = acc;
        for (size_t y = first; y < std::min(height, first + band); ++y)
            for (size_t x = 0; x < width; x += tile) {
                dot.a = map + y * row + x * pixel;
                dot.rows = static_cast<int32_t>(std::min(tile, width - x));
                c.path.dot(dot);
                store(c, i, panel, static_cast<uint32_t>(index), y * width + x, dot.rows, acc);
            }
    });
}

}  // namespace fast
