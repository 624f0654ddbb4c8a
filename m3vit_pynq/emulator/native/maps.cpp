// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// UPSAMPLE2X, OUTPUT_CLASSES and OUTPUT_DEPTH.
#include <algorithm>

#include "context.h"

namespace fast {

using namespace m3vit;

void upsample2x(Context &c, const Instruction &i) {
    const uint64_t width = i.width, height = i.height, count = lines(i.cols_in);
    const size_t padding = 64 * count - i.cols_in;
    const auto pixel = [&](uint64_t y, uint64_t x) {
        return c.table(i.src + (y * width + x) * i.src_stride);
    };
    c.pool.run(static_cast<uint32_t>(2 * height), [&](uint32_t row, int) {
        const uint64_t y = row / 2;
        const uint64_t y1 = row % 2 ? std::min(y + 1, height - 1) : y - (y > 0);
        for (uint64_t column = 0; column < 2 * width; ++column) {
            const uint64_t x = column / 2;
            const uint64_t x1 = column % 2 ? std::min(x + 1, width - 1) : x - (x > 0);
            const int8_t *near = pixel(y, x), *side = pixel(y, x1), *below = pixel(y1, x),
                         *far = pixel(y1, x1);
            int8_t *to = reinterpret_cast<int8_t *>(
                c.line(i.dst + (row * 2 * width + column) * i.dst_stride));
            for (size_t l = 0; l < 64 * count; l += 64)
                c.path.blend_line(near + l, side + l, below + l, far + l, to + l);
            std::memset(to + i.cols_in, 0, padding);
        }
    });
}

namespace {

// Weights of one of `factor` samples between a pixel and its neighbour at `side`.
struct Sample {
    int32_t near, far, side;
};

Sample sample_of(uint32_t a, uint32_t factor) {
    const int32_t u = static_cast<int32_t>(factor), t = 2 * static_cast<int32_t>(a) + 1 - u;
    return {2 * u - std::abs(t), std::abs(t), t < 0 ? -1 : t > 0 ? 1 : 0};
}

uint64_t neighbour(uint64_t y, int32_t side, uint64_t size) {
    if (side < 0) return y - (y > 0);
    return std::min(y + static_cast<uint64_t>(side), size - 1);
}

// Channel k of a pixel.
int32_t value_at(const int8_t *pixel, uint32_t k, bool wide) {
    if (!wide) return pixel[k];
    int16_t value;
    std::memcpy(&value, pixel + 2 * k, 2);
    return value;
}

// One row of each channel between two rows of the map: channel k at
// to + k * stride, with one clamped value before and behind.
void blend_rows(const Context &c, const Instruction &i, uint64_t y, const Sample &s,
                uint32_t channels, bool wide, int32_t *to, size_t stride) {
    const uint64_t y1 = neighbour(y, s.side, i.height);
    for (uint64_t x = 0; x < i.width; ++x) {
        const int8_t *near = c.table(i.src + (y * i.width + x) * i.src_stride);
        const int8_t *far = c.table(i.src + (y1 * i.width + x) * i.src_stride);
        for (uint32_t k = 0; k < channels; ++k)
            to[k * stride + 1 + x] =
                s.near * value_at(near, k, wide) + s.far * value_at(far, k, wide);
    }
    for (uint32_t k = 0; k < channels; ++k) {
        int32_t *row = to + k * stride;
        row[0] = row[1];
        row[1 + i.width] = row[i.width];
    }
}

// The last line of the result behind its pixels becomes zero.
void pad_result(const Context &c, uint64_t bytes) {
    std::memset(c.memory.result + bytes, 0, 64 * lines(bytes) - bytes);
}

uint16_t millimetres(int32_t v) {
    v = std::min(std::max(v, 0), 32767);
    const int32_t f = (v >> 3) & 255, r = v & 7;
    const uint32_t t =
        POW_TABLE[f] + (((POW_TABLE[f + 1] - POW_TABLE[f]) * static_cast<uint32_t>(r) + 4) >> 3);
    const int shift = 15 - (v >> 11);
    const uint32_t half = (1u << shift) >> 1;
    return static_cast<uint16_t>(std::min<uint32_t>(65535, (t + half) >> shift));
}

}  // namespace

void output_classes(Context &c, const Instruction &i) {
    const size_t width = i.width, stride = up(width + 2, 16), channels = i.cols_in;
    const size_t ints = channels * stride + 2 * stride;
    for (Scratch &s : c.scratch) s.block.reserve(ints * sizeof(int32_t));
    c.pool.run(i.height * i.factor, [&](uint32_t row, int thread) {
        int32_t *values =
            reinterpret_cast<int32_t *>(c.scratch[static_cast<size_t>(thread)].block.data());
        int32_t *best = values + channels * stride, *index = best + stride;
        blend_rows(c, i, row / i.factor, sample_of(row % i.factor, i.factor), i.cols_in,
                   i.wide != 0, values, stride);
        uint8_t *to = c.memory.result + uint64_t{row} * i.factor * width;
        for (uint32_t b = 0; b < i.factor; ++b) {
            const Sample s = sample_of(b, i.factor);
            std::fill(best, best + width, INT32_MIN);
            std::fill(index, index + width, 0);
            for (uint32_t k = 0; k < channels; ++k)
                c.path.best_class(values + k * stride + 1, static_cast<int32_t>(width), s.side,
                                  s.near, s.far, static_cast<int32_t>(k), best, index);
            for (size_t x = 0; x < width; ++x)
                to[x * i.factor + b] = static_cast<uint8_t>(index[x]);
        }
    });
    pad_result(c, uint64_t{i.factor} * i.factor * i.height * i.width);
}

void output_depth(Context &c, const Instruction &i) {
    const size_t width = i.width, stride = up(width + 2, 16);
    const int shift = i.factor == 1 ? 2 : i.factor == 2 ? 4 : 6;
    for (Scratch &s : c.scratch) s.block.reserve(stride * sizeof(int32_t));
    c.pool.run(i.height * i.factor, [&](uint32_t row, int thread) {
        int32_t *values =
            reinterpret_cast<int32_t *>(c.scratch[static_cast<size_t>(thread)].block.data());
        blend_rows(c, i, row / i.factor, sample_of(row % i.factor, i.factor), 1, true, values,
                   stride);
        uint8_t *to = c.memory.result + 2 * uint64_t{row} * i.factor * width;
        for (uint32_t b = 0; b < i.factor; ++b) {
            const Sample s = sample_of(b, i.factor);
            for (size_t x = 0; x < width; ++x) {
                const int32_t *v = values + 1 + x;
                const int32_t sum = s.near * v[0] + s.far * v[s.side];
                const uint16_t mm = millimetres((sum + (1 << (shift - 1))) >> shift);
                std::memcpy(to + 2 * (x * i.factor + b), &mm, 2);
            }
        }
    });
    pad_result(c, 2 * uint64_t{i.factor} * i.factor * i.height * i.width);
}

}  // namespace fast
