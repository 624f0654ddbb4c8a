// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// One lane of finish: an accumulator to an output channel.
//
//   in   accumulator, the output's parameters, in ATTENTION the query's scale, in
//        EXPERTS_DOWN the token's gate
//   out  the channel as int32, before an activation
#ifndef M3VIT_FINISH_LANES_H
#define M3VIT_FINISH_LANES_H

#include "parameters.h"
#include "requantise.h"

namespace m3vit {

// What holds for all lanes of a pass.
struct LaneControl {
    bool is_attention;
    bool has_two_passes;
    bool is_gated;
    int32_t limit;  // largest value of the destination's width
};

inline LaneControl lane_control(const MatrixJob &job) {
#pragma HLS INLINE
    const uint8_t element = element_shift(job);
    LaneControl control;
    control.is_attention = job.mode == MODE_ATTENTION;
    control.has_two_passes = job.passes == 2;
    control.is_gated = job.mode == MODE_DOWN;
    control.limit = element == 0 ? INT8_MAX : element == 1 ? INT16_MAX : INT32_MAX;
    return control;
}

inline int32_t finish_lane(const LaneControl &control, int32_t accumulator,
                           const Parameter &parameter, uint32_t scale, uint16_t gate) {
#pragma HLS INLINE
    const uint32_t bias = word_at(parameter, PARAMETER_BIAS / 4);
    const uint16_t own_multiplier = half_at(parameter, PARAMETER_MULTIPLIER / 2);
    const uint8_t own_shift = byte_at(parameter, PARAMETER_SHIFT);

    // Two passes: 12-bit probabilities, taken back to the range of 8-bit ones.
    const int32_t mean = control.has_two_passes ? (accumulator + 8) >> 4 : accumulator;
    const Int<27> sum = wrap27(static_cast<uint32_t>(accumulator) + bias);
    const Int<27> value =
        control.is_attention ? static_cast<int32_t>(mean) : static_cast<int32_t>(sum);
    const uint16_t multiplier =
        control.is_attention ? static_cast<uint16_t>(scale & 0xffff) : own_multiplier;
    // EXPERTS_DOWN keeps eight more fractional bits.
    const uint32_t shift = control.is_attention ? scale >> 16
                           : control.is_gated   ? own_shift + 56u
                                                : own_shift;
    const Int<44> fine =
        rounded<44>(scaled<27>(value, multiplier), static_cast<uint8_t>(shift & 63));

    const Int<27> kept = clamped<44>(fine, (1 << 26) - 1);
    const Int<44> gated = rounded<44>(scaled<27>(kept, gate), 24);
    return clamped<44>(control.is_gated ? gated : fine, control.limit);
}

}  // namespace m3vit

#endif
