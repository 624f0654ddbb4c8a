// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
#include "packed.h"

#include <algorithm>
#include <chrono>

#include "generated/abi.h"

namespace fast {

namespace {

constexpr uint32_t PARTS = m3vit::WEIGHT_PARTS;
constexpr size_t BEAT = m3vit::BEAT;

// Where the rows of a panel lie: `rows` of row_bytes in each part, at first + p * part_bytes.
struct Source {
    const uint8_t *first;
    size_t part_bytes, row_bytes, rows;

    const uint8_t *row(uint32_t channel) const {
        return first + channel % PARTS * part_bytes + channel / PARTS * row_bytes;
    }
};

Source source_of(const Layer &layer, size_t panel, const uint8_t *bank) {
    const size_t row_bytes = BEAT + layer.place.k;
    const size_t left = layer.place.outputs - panel * PANEL;
    const size_t rows = (std::min<size_t>(left, PANEL) + PARTS - 1) / PARTS;
    return {bank + 64 * layer.place.line + panel * (PANEL / PARTS) * row_bytes,
            64 * layer.place.part_lines, row_bytes, rows};
}

uint64_t checksum_of(const Path &path, const Source &source) {
    uint64_t sum = 1;
    for (uint32_t part = 0; part < PARTS; ++part)
        sum = path.checksum(source.first + part * source.part_bytes, source.rows * source.row_bytes,
                            sum);
    return sum;
}

void pack_params(const Path &path, const Layer &layer, const Source &source, uint32_t valid,
                 PanelParams *p) {
    std::memset(p, 0, sizeof *p);
    p->valid = static_cast<int32_t>(valid);
    p->narrow = 1;
    for (uint32_t c = 0; c < static_cast<uint32_t>(PANEL); ++c) {
        uint32_t shift = 12;
        if (c < valid) {
            const uint8_t *beat = source.row(c);
            uint32_t bias;
            uint16_t mult;
            std::memcpy(&bias, beat + m3vit::PARAMETER_BIAS, 4);
            std::memcpy(&mult, beat + m3vit::PARAMETER_MULTIPLIER, 2);
            shift = beat[m3vit::PARAMETER_SHIFT] & 63;
            if (layer.place.gated) shift = (shift - 8) & 63;
            const int8_t *w = reinterpret_cast<const int8_t *>(beat + BEAT);
            int32_t sum = 0;
            for (uint32_t k = 0; k < layer.place.k; ++k) sum += w[k];
            bias -= static_cast<uint32_t>(path.signed_offset) * static_cast<uint32_t>(sum);
            p->bias[c] = static_cast<int32_t>(bias);
            p->mult[c] = mult;
            if (shift < 12) p->narrow = 0;
        }
        p->plain_shift[c] = static_cast<uint8_t>(shift);
        p->shift[M3VIT_EVEN_ODD(c)] = static_cast<int64_t>(shift);
        p->half[M3VIT_EVEN_ODD(c)] = static_cast<int64_t>((uint64_t{1} << shift) >> 1);
    }
    for (int c = 0; c < PANEL; c += 2) p->mult_odd[c] = p->mult[c + 1];
}

// [k / group][cols][group]; channels behind the last and k behind K are zero.
void pack_weights(const Path &path, const Layer &layer, const Source &source, uint32_t valid,
                  const Panel &panel) {
    const size_t group = static_cast<size_t>(path.group), cols = static_cast<size_t>(panel.cols);
    std::memset(panel.weights, 0, static_cast<size_t>(layer.k) * cols);
    for (uint32_t c = 0; c < valid; ++c) {
        const uint8_t *w = source.row(c) + BEAT;
        int8_t *to = panel.weights + c * group;
        for (size_t k = 0; k < layer.place.k; k += group, to += cols * group)
            std::memcpy(to, w + k, group);
    }
}

}  // namespace

Layer &BankWeights::layer(const LayerPlace &place) {
    std::unique_ptr<Layer> &slot = layers_[place];
    if (slot) return *slot;
    auto layer = std::make_unique<Layer>();
    layer->place = place;
    const uint32_t unit = static_cast<uint32_t>(path_.unit);
    layer->k = static_cast<int32_t>((place.k + unit - 1) / unit * unit);
    const size_t count = (place.outputs + PANEL - 1) / PANEL;
    const size_t params = (sizeof(PanelParams) + 63) / 64 * 64;
    const size_t last = (place.outputs - (count - 1) * PANEL + 15) / 16 * 16;
    const size_t bytes =
        count * params + ((count - 1) * PANEL + last) * static_cast<size_t>(layer->k);
    uint8_t *at = layer->storage.reserve(bytes + 64);
    layer->panels.resize(count);
    for (size_t i = 0; i < count; ++i) {
        Panel &panel = layer->panels[i];
        panel.cols = static_cast<int32_t>(i + 1 < count ? PANEL : last);
        panel.params = reinterpret_cast<PanelParams *>(at);
        panel.weights = reinterpret_cast<int8_t *>(at + params);
        at += params + static_cast<size_t>(panel.cols) * static_cast<size_t>(layer->k);
    }
    bytes_ += layer->storage.size();
    slot = std::move(layer);
    return *slot;
}

void BankWeights::prepare(Layer &layer, size_t index, const uint8_t *bank, bool verify,
                          PackCount *count) {
    Panel &panel = layer.panels[index];
    if (panel.packed && (!verify || panel.checked == generation_)) return;
    const Source source = source_of(layer, index, bank);
    const uint64_t checksum = checksum_of(path_, source);
    panel.checked = generation_;
    if (panel.packed && checksum == panel.checksum) return;
    const auto begin = std::chrono::steady_clock::now();
    const uint32_t left = layer.place.outputs - static_cast<uint32_t>(index) * PANEL;
    const uint32_t valid = std::min<uint32_t>(left, PANEL);
    pack_params(path_, layer, source, valid, panel.params);
    pack_weights(path_, layer, source, valid, panel);
    panel.checksum = checksum;
    panel.packed = true;
    const auto spent = std::chrono::steady_clock::now() - begin;
    count->nanoseconds +=
        static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(spent).count());
    count->panels += 1;
}

void BankWeights::trim(size_t bytes) {
    if (bytes_ <= bytes) return;
    layers_.clear();
    bytes_ = 0;
}

}  // namespace fast
