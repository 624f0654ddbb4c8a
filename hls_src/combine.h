// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// LAYERNORM, first step: adds the slots of the experts to the residual rows, four slots
// a round, one from each weight port, with saturation after each.
//
//   in   rows, slots0 ... slots3   beats of int16; without slots, slots0 has every other row
//   out  completed                 the sums, for the statistics
//        updated                   the same for memory, if there are slots
//   loop row x round x beat
//
// Between rounds the row waits in `held`: a round has at least ROUND_STEPS steps, so
// that a beat is written long before it is read again.
#ifndef M3VIT_COMBINE_H
#define M3VIT_COMBINE_H

#include "beat_words.h"
#include "rounding.h"
#include "row_job.h"

namespace m3vit {

constexpr int HELD_BEATS = 2 * static_cast<int>(MAX_LAYERNORM) / PORT_BYTES;

inline PortBeat added(const PortBeat &a, const PortBeat &b) {
#pragma HLS INLINE
    PortBeat sum = zeros<PORT_BYTES>();
    for (int i = 0; i < LANES; ++i) {
#pragma HLS UNROLL
        set_half(sum, i, static_cast<uint16_t>(sat16(int16_at(a, i) + int16_at(b, i))));
    }
    return sum;
}

// Channels from `channels` on as zero; the beat starts at channel `first`.
inline PortBeat without_padding(const PortBeat &beat, int first, int channels) {
#pragma HLS INLINE
    PortBeat result = zeros<PORT_BYTES>();
    for (int i = 0; i < LANES; ++i) {
#pragma HLS UNROLL
        set_half(result, i, static_cast<uint16_t>(first + i < channels ? half_at(beat, i) : 0));
    }
    return result;
}

inline void combine(const NormJob norm, Stream<PortBeat> &rows, Stream<PortBeat> &slots0,
                    Stream<PortBeat> &slots1, Stream<PortBeat> &slots2, Stream<PortBeat> &slots3,
                    Stream<PortBeat> &completed, Stream<PortBeat> &updated) {
    PortBeat held[HELD_BEATS];
#pragma HLS BIND_STORAGE variable = held type = ram_s2p impl = lutram
    int beat = 0;
    int round = 0;
    bool aside = false;  // this row comes through slots0
COMBINE:
    for (uint32_t i = 0; i < norm.combine_steps; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
#pragma HLS DEPENDENCE variable = held type = inter dependent = false
        const bool busy = beat < norm.in_beats;
        const bool last_round = round == norm.rounds - 1;
        const int first_slot = 4 * round;
        if (busy) {
            PortBeat sum = zeros<PORT_BYTES>();
            if (round != 0) {
                sum = held[beat];
            } else if (!aside) {
                sum = rows.read();
            }
            if (aside || first_slot < norm.slots) sum = added(sum, slots0.read());
            if (first_slot + 1 < norm.slots) sum = added(sum, slots1.read());
            if (first_slot + 2 < norm.slots) sum = added(sum, slots2.read());
            if (first_slot + 3 < norm.slots) sum = added(sum, slots3.read());
            if (last_round) {
                const PortBeat row = without_padding(sum, LANES * beat, norm.channels);
                completed.write(row);
                if (norm.slots != 0) updated.write(row);
            } else {
                held[beat] = sum;
            }
        }
        if (++beat == norm.round_steps) {
            beat = 0;
            round = last_round ? 0 : round + 1;
            aside = norm.slots == 0 && !aside;
        }
    }
}

}  // namespace m3vit

#endif
