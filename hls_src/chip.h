// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// The on-chip memories themselves. They live in the translation unit of the top
// function; kernels take them as arguments.
#ifndef M3VIT_CHIP_H
#define M3VIT_CHIP_H

#include "memories.h"

namespace m3vit {
namespace chip {

alignas(64) static int8_t act[ACT_LINES][LINE];
alignas(64) static int16_t residual[RESIDUAL_ELEMENTS];
alignas(64) static int32_t scores[SCORE_ELEMENTS];
static Queues queues;
alignas(64) static WeightTile weights_ping;
alignas(64) static WeightTile weights_pong;
alignas(64) static TokenTile tokens_ping;
alignas(64) static TokenTile tokens_pong;
static NormTable norm_table;
alignas(64) static ResultTile results_ping;
alignas(64) static ResultTile results_pong;

}  // namespace chip
}  // namespace m3vit

#endif
