// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// GATE: top-k of the router's logits, gate weights, and one queue of tokens per
// expert by a counting sort.
#ifndef M3VIT_GATE_H
#define M3VIT_GATE_H

#include "cycles.h"
#include "memories.h"
#include "requantise.h"
#include "types.h"

namespace m3vit {

// What the router decided for one token.
struct Decision {
    uint16_t expert[MAX_TOP_K];  // best first
    uint16_t gate[MAX_TOP_K];    // their weights, 16 fractional bits
};

// 2^-(distance below the maximum), 16 fractional bits.
inline uint32_t gate_power(int32_t top, int32_t logit) {
    const int64_t below = (static_cast<int64_t>(top) - logit + 128) >> 8;
    const uint32_t octaves = static_cast<uint32_t>(below >> 8);
    const uint32_t power =
        static_cast<uint32_t>(rshift(GATE_TABLE[below & 255], octaves < 31 ? octaves : 31));
    return octaves <= 31 ? power : 0;
}

// The `top_k` largest logits by insertion, ties to the lower index; weights are
// a softmax over all experts or over the chosen.
inline Decision gate_token(const int32_t logits[MAX_EXPERTS], int experts, int top_k,
                           bool over_all) {
    int32_t best[MAX_TOP_K];
    Decision decision;
#pragma HLS ARRAY_PARTITION variable = best complete
CLEAR_BEST:
    for (int i = 0; i < static_cast<int>(MAX_TOP_K); ++i) {
#pragma HLS UNROLL
        best[i] = INT32_MIN;
        decision.expert[i] = 0;
        decision.gate[i] = 0;
    }
SELECT_EXPERTS:
    for (int e = 0; e < minimum(experts, MAX_EXPERTS); ++e) {
#pragma HLS PIPELINE II = 1
        const int32_t logit = logits[e];
    INSERT:
        for (int i = static_cast<int>(MAX_TOP_K) - 1; i >= 0; --i) {
#pragma HLS UNROLL
            const bool here = e <= i || logit > best[i];  // fewer than i before e
            const bool above = i > 0 && (e <= i - 1 || logit > best[i > 0 ? i - 1 : 0]);
            if (here) {
                best[i] = above ? best[i - 1] : logit;
                decision.expert[i] = above ? decision.expert[i - 1] : static_cast<uint16_t>(e);
            }
        }
    }
    uint32_t total = 0;
SUM_POWERS:
    for (int e = 0; e < minimum(experts, MAX_EXPERTS); ++e) {
#pragma HLS PIPELINE II = 1
        const bool counts = over_all || e < top_k;
        const int32_t logit = over_all ? logits[e] : best[e < static_cast<int>(MAX_TOP_K) ? e : 0];
        if (counts) total += gate_power(best[0], logit);
    }
GATE_WEIGHTS:
    for (int i = 0; i < minimum(top_k, MAX_TOP_K); ++i) {
#pragma HLS PIPELINE II = 1
        const uint64_t share = (static_cast<uint64_t>(gate_power(best[0], best[i])) << 16) / total;
        decision.gate[i] = static_cast<uint16_t>(share < 65535 ? share : 65535);
    }
    return decision;
}

// Choose for every token, count, then place: tokens ascend in every queue.
inline void run_gate(const Instruction &in, const int32_t scores[SCORE_ELEMENTS], Queues &queues) {
    static uint8_t chosen[QUEUE_ENTRIES];
    static uint16_t weight[QUEUE_ENTRIES];
    uint16_t count[MAX_EXPERTS] = {};
#pragma HLS ARRAY_PARTITION variable = count complete
    const int rows = static_cast<int>(in.rows);
    const int experts = static_cast<int>(in.experts);
    const int top_k = static_cast<int>(in.top_k);
    Decision decision = {};
GATE_TOKENS:
    for (int t = 0; t < minimum(rows, MAX_TOKENS); ++t) {
        if (t == 0 || in.per_image == 0) {
            int32_t logits[MAX_EXPERTS];
            const uint32_t row = in.src + static_cast<uint32_t>(t) * in.src_stride;
        READ_LOGITS:
            for (int e = 0; e < minimum(experts, MAX_EXPERTS); ++e) {
#pragma HLS PIPELINE II = 1
                logits[e] = scores[row + e];
            }
            decision = gate_token(logits, experts, top_k, in.gate_mode == GATE_SOFTMAX_ALL);
        }
    COUNT:
        for (int i = 0; i < minimum(top_k, MAX_TOP_K); ++i) {
#pragma HLS PIPELINE II = 1
            chosen[t * top_k + i] = static_cast<uint8_t>(decision.expert[i]);
            weight[t * top_k + i] = decision.gate[i];
            ++count[decision.expert[i]];
        }
    }
    // Read, select, sum, divide and count are stages next to each other; the
    // longest of them takes one cycle per expert.
    const uint64_t decisions = in.per_image ? 1 : rows;
    cycles::loop(decisions, maximum(experts, top_k) + 2, 4 * experts + DIVIDER_LATENCY);
    if (in.per_image) cycles::loop(static_cast<uint64_t>(rows) * top_k, 1, MEMORY_LATENCY);

    uint16_t next[MAX_EXPERTS] = {};
#pragma HLS ARRAY_PARTITION variable = next complete
    uint16_t first = 0;
QUEUE_STARTS:
    for (int e = 0; e < static_cast<int>(MAX_EXPERTS); ++e) {
#pragma HLS PIPELINE II = 1
        queues.first[e] = first;
        next[e] = first;
        first = static_cast<uint16_t>(first + count[e]);
    }
    queues.first[MAX_EXPERTS] = first;
    cycles::loop(MAX_EXPERTS, 1, MEMORY_LATENCY);
PLACE_TOKENS:
    for (int t = 0; t < minimum(rows, MAX_TOKENS); ++t) {
    PLACE:
        for (int i = 0; i < minimum(top_k, MAX_TOP_K); ++i) {
#pragma HLS PIPELINE II = 1
            const int e = chosen[t * top_k + i];
            queues.token[next[e]] = static_cast<uint16_t>(t);
            queues.gate[next[e]] = weight[t * top_k + i];
            ++next[e];
        }
    }
    cycles::loop(static_cast<uint64_t>(rows) * top_k, 1, MEMORY_LATENCY);
    queues.rows = in.rows;
    queues.experts = in.experts;
    queues.top_k = in.top_k;
}

}  // namespace m3vit

#endif
