// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// The top function. Its arguments, in this order, are the register map:
// m3vit_pynq/abi/registers.py, docs/registers.md.
#ifndef M3VIT_ACCEL_H
#define M3VIT_ACCEL_H

#include "types.h"

extern "C" void m3vit_accel(uint32_t command, uint32_t task, const m3vit::Beat *frame,
                            m3vit::Beat *output, const m3vit::Beat *program,
                            const m3vit::Beat *weights0, const m3vit::Beat *weights1,
                            const m3vit::Beat *weights2, const m3vit::Beat *weights3,
                            uint32_t frame_bytes, uint32_t output_bytes, uint32_t program_bytes,
                            uint32_t weights_bytes, uint32_t *magic, uint32_t *abi_version,
                            uint32_t *config, uint32_t *act_lines, uint32_t *residual_elements,
                            uint32_t *weight_tile_beats, uint32_t *queue_entries,
                            uint32_t *score_elements, uint32_t *error, uint32_t *error_pc,
                            uint32_t *cycles_low, uint32_t *cycles_high);

#endif
