// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// The top function. Its arguments, in this order, are the register map:
// m3vit_pynq/abi/registers.py, docs/registers.md.
#ifndef M3VIT_ACCEL_H
#define M3VIT_ACCEL_H

#include "words.h"

extern "C" void m3vit_accel(
    uint32_t run_command, uint32_t run_task, m3vit::Port<m3vit::PortBeat> bank_program,
    m3vit::Port<m3vit::PortBeat> bank_weights0, m3vit::Port<m3vit::PortBeat> bank_weights1,
    m3vit::Port<m3vit::PortBeat> bank_weights2, m3vit::Port<m3vit::PortBeat> bank_weights3,
    m3vit::Port<m3vit::PortBeat> bank_tokens, m3vit::Port<m3vit::PortBeat> bank_residual,
    m3vit::Port<m3vit::PortBeat> bank_records, m3vit::Port<m3vit::PortBeat> bank_results,
    m3vit::Port<m3vit::PortBeat> frame_pixels, m3vit::Port<m3vit::PortBeat> result_pixels,
    uint32_t bank_bytes, uint32_t frame_bytes, uint32_t result_bytes, uint32_t *id_magic,
    uint32_t *id_abi, uint32_t *id_shape, uint32_t *cap_half_lines, uint32_t *cap_tokens,
    uint32_t *cap_map_lines, uint32_t *run_error, uint32_t *run_pc);

#endif
