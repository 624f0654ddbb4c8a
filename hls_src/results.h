// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// Words that leave the engines and softmax.
//
//   Result   accumulators of one step: token t, output o in 32 bits at t * OH + o
//   Sums     sum of the probabilities of query t, 32 bits at t
//   Scales   multiplier (low half) and shift of query t, 32 bits at t
#ifndef M3VIT_RESULTS_H
#define M3VIT_RESULTS_H

#include "shapes.h"

namespace m3vit {

constexpr int RESULT_BYTES = 4 * power_of_two(T * OH);
constexpr int QUERY_BYTES = 4 * power_of_two(T);

using Result = Bytes<RESULT_BYTES>;
using Sums = Bytes<QUERY_BYTES>;
using Scales = Bytes<QUERY_BYTES>;

}  // namespace m3vit

#endif
