// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// LAYERNORM, last step: (x - mean) / deviation * gamma + beta, one beat of int16 a cycle.
//
//   in     table     8 bytes for each channel: beta, gamma
//          waiting   the rows
//          inverses  one per row
//   out    normalised   beats of int8
//   loop   table beat; then row x half beat of the result
//   memory the table, a word for each beat of a row
#ifndef M3VIT_NORMALISE_H
#define M3VIT_NORMALISE_H

#include "norm_root.h"
#include "rounding.h"

namespace m3vit {

constexpr int ENTRY_BYTES = 8;  // in memory; the last two are not kept
constexpr int BEAT_CHANNELS = PORT_BYTES / ENTRY_BYTES;
constexpr int BETA_BYTES = 4;
constexpr int GAMMA_BYTES = 2;
constexpr int ENTRY_WORDS_MAX = static_cast<int>(MAX_LAYERNORM) / LANES;
constexpr int ENTRY_BEATS = ENTRY_BYTES * LANES / PORT_BYTES;

// SIZE bytes of every channel's entry in a beat, from byte `first` of it on.
template <int SIZE>
inline Bytes<BEAT_CHANNELS * SIZE> taken(const PortBeat &beat, int first) {
#pragma HLS INLINE
    Bytes<BEAT_CHANNELS * SIZE> bytes = zeros<BEAT_CHANNELS * SIZE>();
    for (int i = 0; i < BEAT_CHANNELS * SIZE; ++i) {
#pragma HLS UNROLL
        set_byte(bytes, i, byte_at(beat, i / SIZE * ENTRY_BYTES + first + i % SIZE));
    }
    return bytes;
}

// 0 for what is no channel: only real channels are bounded by the row's deviation.
inline int8_t normalised_channel(bool valid, int16_t x, const RowScale &row, int n, int16_t gamma,
                                 int32_t beta, int shift) {
#pragma HLS INLINE
    const Int<27> centred = valid ? n * x - row.sum : 0;
    const UInt<17> inverse = row.value;
    const Int<45> scaled = static_cast<int64_t>(centred) * static_cast<int64_t>(inverse);
    const Int<21> z = rshift(static_cast<int64_t>(scaled), 34 - row.k);
    const Int<38> y = static_cast<int64_t>(z) * gamma + beta;
    return sat8(rshift(static_cast<int64_t>(y), shift));
}

inline void normalise(const NormJob norm, Stream<PortBeat> &table, Stream<PortBeat> &waiting,
                      Stream<RowScale> &inverses, Stream<PortBeat> &normalised) {
    Bytes<BETA_BYTES * LANES> betas[ENTRY_WORDS_MAX];
#pragma HLS BIND_STORAGE variable = betas type = ram_s2p impl = bram
    Bytes<GAMMA_BYTES * LANES> gammas[ENTRY_WORDS_MAX];
#pragma HLS BIND_STORAGE variable = gammas type = ram_s2p impl = bram
    Bytes<BETA_BYTES * LANES> some_betas = zeros<BETA_BYTES * LANES>();
    Bytes<GAMMA_BYTES * LANES> some_gammas = zeros<GAMMA_BYTES * LANES>();
    int part = 0;
    int filled = 0;
TABLE:
    for (uint32_t i = 0; i < norm.table_beats; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
        const PortBeat beat = table.read();
        some_betas = shifted_in<BETA_BYTES * LANES, BEAT_CHANNELS * BETA_BYTES>(
            some_betas, taken<BETA_BYTES>(beat, 0));
        some_gammas = shifted_in<GAMMA_BYTES * LANES, BEAT_CHANNELS * GAMMA_BYTES>(
            some_gammas, taken<GAMMA_BYTES>(beat, BETA_BYTES));
        if (++part == ENTRY_BEATS) {
            part = 0;
            betas[filled] = some_betas;
            gammas[filled] = some_gammas;
            ++filled;
        }
    }
    const int row_steps = 2 * norm.out_beats;
    RowScale row = {0, 0, 0, 0};
    PortBeat result = zeros<PORT_BYTES>();
    int step = 0;
NORMALISE:
    for (uint32_t i = 0; i < norm.normalise_steps; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
        if (step == 0) row = inverses.read();
        PortBeat x = zeros<PORT_BYTES>();
        if (step < norm.in_beats) x = waiting.read();
        const Bytes<BETA_BYTES * LANES> step_betas = betas[step];
        const Bytes<GAMMA_BYTES * LANES> step_gammas = gammas[step];
        Bytes<LANES> half = zeros<LANES>();
        for (int l = 0; l < LANES; ++l) {
#pragma HLS UNROLL
            const int32_t beta = static_cast<int32_t>(word_at(step_betas, l));
            const int16_t gamma = static_cast<int16_t>(half_at(step_gammas, l));
            const bool valid = LANES * step + l < norm.channels;
            const int8_t y = normalised_channel(valid, int16_at(x, l), row, norm.channels, gamma,
                                                beta, norm.shift);
            set_byte(half, l, static_cast<uint8_t>(valid ? y : 0));
        }
        result = shifted_in<PORT_BYTES, LANES>(result, half);
        if ((step & 1) != 0) normalised.write(result);
        step = step == row_steps - 1 ? 0 : step + 1;
    }
}

}  // namespace m3vit

#endif
