// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// GATE: the experts of each token and their weights.
//
//   gate_select    rows -> decisions, logits       token x logit: insertion into registers
//   gate_sum       logits, decisions -> totals     token x logit: powers of two, summed
//   gate_divide    decisions, totals -> entries    token x entry: an unrolled divider
//   gate_records   entries -> records              row x beat: repeated if per image
//
// A decision is a line: words 2i and 2i + 1 are expert and logit of entry i, best first.
#ifndef M3VIT_GATE_H
#define M3VIT_GATE_H

#include "beat_words.h"
#include "rounding.h"
#include "row_job.h"

namespace m3vit {

constexpr int ENTRIES = static_cast<int>(MAX_TOP_K);
constexpr int BEAT_LOGITS = PORT_BYTES / 4;
constexpr int BEAT_ENTRIES = PORT_BYTES / static_cast<int>(RECORD_ENTRY);

static_assert(ENTRIES * static_cast<int>(RECORD_ENTRY) == LINE, "a record is a line");

inline void gate_select(const GateJob gate, Stream<PortBeat> &rows, Stream<int32_t> &logits,
                        Stream<Line> &decisions) {
    int32_t best[ENTRIES];
    uint8_t chosen[ENTRIES];
#pragma HLS ARRAY_PARTITION variable = best complete
#pragma HLS ARRAY_PARTITION variable = chosen complete
    for (int i = 0; i < ENTRIES; ++i) {
#pragma HLS UNROLL
        best[i] = 0;
        chosen[i] = 0;
    }
    PortBeat beat = zeros<PORT_BYTES>();
    int lane = 0;
    int e = 0;
SELECT:
    for (uint32_t i = 0; i < gate.logits; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
        if (lane == 0) beat = rows.read();
        const int32_t logit = static_cast<int32_t>(word_at(beat, 0));
        const bool valid = e < gate.experts;
        beat = shifted_in<PORT_BYTES, 4>(beat, zeros<4>());
        if (valid) logits.write(logit);
        for (int k = ENTRIES - 1; k >= 0; --k) {
#pragma HLS UNROLL
            const int before = k > 0 ? k - 1 : 0;
            const bool here = valid && (e <= k || logit > best[k]);  // entries behind e are empty
            const bool above = k > 0 && (e <= before || logit > best[before]);
            if (here) {
                best[k] = above ? best[before] : logit;
                chosen[k] = above ? chosen[before] : static_cast<uint8_t>(e);
            }
        }
        lane = lane == BEAT_LOGITS - 1 ? 0 : lane + 1;
        if (++e == gate.steps) {
            e = 0;
            Line decision = zeros<LINE>();
            for (int k = 0; k < ENTRIES; ++k) {
#pragma HLS UNROLL
                set_word(decision, 2 * k, chosen[k]);
                set_word(decision, 2 * k + 1, static_cast<uint32_t>(best[k]));
            }
            decisions.write(decision);
        }
    }
}

// 2^-(distance below the maximum), 16 fractional bits.
inline uint32_t gate_power(int32_t top, int32_t logit) {
#pragma HLS INLINE
#pragma HLS BIND_STORAGE variable = GATE_TABLE type = rom_np impl = lutram
    const int64_t below = (static_cast<int64_t>(top) - logit + 128) >> 8;
    const int octaves = static_cast<int>(below >> 8);
    const int64_t power = static_cast<int64_t>(GATE_TABLE[below & 255]);
    return octaves <= 31 ? static_cast<uint32_t>(rshift(power, octaves & 31)) : 0;
}

inline void gate_sum(const GateJob gate, Stream<int32_t> &logits, Stream<Line> &decisions,
                     Stream<Line> &decided, Stream<uint32_t> &totals) {
    Line decision = zeros<LINE>();
    int32_t top = 0;
    UInt<23> sum = 0;
    int e = 0;
SUM:
    for (uint32_t i = 0; i < gate.logits; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
        if (e == 0) {
            decision = decisions.read();
            decided.write(decision);
            top = static_cast<int32_t>(word_at(decision, 1));
        }
        int32_t logit = 0;
        if (e < gate.experts) logit = logits.read();
        const int32_t selected = static_cast<int32_t>(word_at(decision, 1));
        decision = shifted_in<LINE, 8>(decision, zeros<8>());
        const bool counts = e < (gate.over_all != 0 ? gate.experts : gate.top_k);
        const uint32_t power = gate_power(top, gate.over_all != 0 ? logit : selected);
        sum = (e == 0 ? 0 : static_cast<uint32_t>(sum)) + (counts ? power : 0);
        if (++e == gate.steps) {
            e = 0;
            totals.write(static_cast<uint32_t>(sum));
        }
    }
}

// min(65535, floor(65536 * power / total)), power <= total: a stage for each digit.
inline uint16_t gate_share(uint32_t power, uint32_t total) {
#pragma HLS INLINE
    uint32_t rest = power;
    uint32_t quotient = 0;
    for (int digit = 0; digit < 17; ++digit) {
#pragma HLS UNROLL
        const bool fits = rest >= total;
        const uint32_t left = fits ? rest - total : rest;
        quotient = quotient << 1 | (fits ? 1u : 0u);
        rest = left << 1;
    }
    return static_cast<uint16_t>(quotient < 65535 ? quotient : 65535);
}

inline void gate_divide(const GateJob gate, Stream<Line> &decided, Stream<uint32_t> &totals,
                        Stream<PortBeat> &entries) {
    const uint32_t steps = static_cast<uint32_t>(gate.tokens) * ENTRIES;
    Line decision = zeros<LINE>();
    int32_t top = 0;
    uint32_t total = 1;
    PortBeat beat = zeros<PORT_BYTES>();
    int entry = 0;
    int lane = 0;
DIVIDE:
    for (uint32_t i = 0; i < steps; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
        if (entry == 0) {
            decision = decided.read();
            total = totals.read();
            top = static_cast<int32_t>(word_at(decision, 1));
        }
        const uint32_t expert = word_at(decision, 0);
        const int32_t logit = static_cast<int32_t>(word_at(decision, 1));
        decision = shifted_in<LINE, 8>(decision, zeros<8>());
        const uint32_t share = gate_share(gate_power(top, logit), total);
        Bytes<RECORD_ENTRY> record = zeros<RECORD_ENTRY>();
        if (entry < gate.top_k) set_word(record, 0, share << 16 | expert);
        beat = shifted_in<PORT_BYTES, RECORD_ENTRY>(beat, record);
        if (lane == BEAT_ENTRIES - 1) entries.write(beat);
        lane = lane == BEAT_ENTRIES - 1 ? 0 : lane + 1;
        entry = entry == ENTRIES - 1 ? 0 : entry + 1;
    }
}

inline void gate_records(const GateJob gate, Stream<PortBeat> &entries, Stream<PortBeat> &records) {
    const uint32_t total = static_cast<uint32_t>(gate.rows) * LINE_BEATS;
    PortBeat first[LINE_BEATS];  // the record, its next beat in front
#pragma HLS ARRAY_PARTITION variable = first complete
    for (int b = 0; b < LINE_BEATS; ++b) {
#pragma HLS UNROLL
        first[b] = zeros<PORT_BYTES>();
    }
    int beat = 0;
    bool fresh = true;
RECORDS:
    for (uint32_t i = 0; i < total; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
        PortBeat next = first[0];
        if (fresh) next = entries.read();
        records.write(next);
        for (int b = 0; b < LINE_BEATS - 1; ++b) {
#pragma HLS UNROLL
            first[b] = first[b + 1];
        }
        first[LINE_BEATS - 1] = next;
        if (++beat == LINE_BEATS) {
            beat = 0;
            fresh = gate.per_image == 0;
        }
    }
}

}  // namespace m3vit

#endif
