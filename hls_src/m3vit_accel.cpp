// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// m3vit_accel: runs the program of one task on one frame. Instruction by instruction:
//
//   program.h        find the task, fetch
//   check.h          refuse what does not fit
//   matrix_pass.h    LINEAR, CONV3X3, ATTENTION, EXPERTS_UP, EXPERTS_DOWN
//   row_pass.h       LOAD_PATCHES, LOAD_RESIDUAL, LAYERNORM, GATE, UPSAMPLE2X, OUTPUT_*
//
// One instruction ends with its last write response before the next begins.
#include "m3vit_accel.h"

#include "check.h"
#include "matrix_job.h"
#include "matrix_pass.h"
#include "program.h"
#include "row_pass.h"
#include "row_setup.h"

namespace m3vit {

inline bool is_matrix(uint32_t opcode) {
    return opcode == OP_LINEAR || opcode == OP_CONV3X3 || opcode == OP_ATTENTION ||
           opcode == OP_EXPERTS_UP || opcode == OP_EXPERTS_DOWN;
}

inline Error command_error(uint32_t command) {
    return command == COMMAND_IDENTIFY || command == COMMAND_RUN ? ERROR_OK : ERROR_BAD_COMMAND;
}

}  // namespace m3vit

void m3vit_accel(
    uint32_t run_command, uint32_t run_task, m3vit::Port<m3vit::PortBeat> bank_program,
    m3vit::Port<m3vit::PortBeat> bank_weights0, m3vit::Port<m3vit::PortBeat> bank_weights1,
    m3vit::Port<m3vit::PortBeat> bank_weights2, m3vit::Port<m3vit::PortBeat> bank_weights3,
    m3vit::Port<m3vit::PortBeat> bank_tokens, m3vit::Port<m3vit::PortBeat> bank_residual,
    m3vit::Port<m3vit::PortBeat> bank_records, m3vit::Port<m3vit::PortBeat> bank_results,
    m3vit::Port<m3vit::PortBeat> frame_pixels, m3vit::Port<m3vit::PortBeat> result_pixels,
    uint32_t bank_bytes, uint32_t frame_bytes, uint32_t result_bytes, uint32_t *id_magic,
    uint32_t *id_abi, uint32_t *id_shape, uint32_t *cap_half_lines, uint32_t *cap_tokens,
    uint32_t *cap_map_lines, uint32_t *run_error, uint32_t *run_pc) {
    // clang-format off
#pragma HLS INTERFACE mode = m_axi port = bank_program bundle = bank_program offset = slave \
    max_read_burst_length = 16 num_read_outstanding = 16
#pragma HLS INTERFACE mode = m_axi port = bank_weights0 bundle = bank_weights0 offset = slave \
    max_read_burst_length = 16 num_read_outstanding = 16
#pragma HLS INTERFACE mode = m_axi port = bank_weights1 bundle = bank_weights1 offset = slave \
    max_read_burst_length = 16 num_read_outstanding = 16
#pragma HLS INTERFACE mode = m_axi port = bank_weights2 bundle = bank_weights2 offset = slave \
    max_read_burst_length = 16 num_read_outstanding = 16
#pragma HLS INTERFACE mode = m_axi port = bank_weights3 bundle = bank_weights3 offset = slave \
    max_read_burst_length = 16 num_read_outstanding = 16
#pragma HLS INTERFACE mode = m_axi port = bank_tokens bundle = bank_tokens offset = slave \
    max_read_burst_length = 16 num_read_outstanding = 16
#pragma HLS INTERFACE mode = m_axi port = bank_residual bundle = bank_residual offset = slave \
    max_read_burst_length = 16 num_read_outstanding = 16
#pragma HLS INTERFACE mode = m_axi port = bank_records bundle = bank_records offset = slave \
    max_read_burst_length = 16 num_read_outstanding = 16
#pragma HLS INTERFACE mode = m_axi port = bank_results bundle = bank_results offset = slave \
    max_write_burst_length = 16 num_write_outstanding = 16
#pragma HLS INTERFACE mode = m_axi port = frame_pixels bundle = frame_pixels offset = slave \
    max_read_burst_length = 16 num_read_outstanding = 16
#pragma HLS INTERFACE mode = m_axi port = result_pixels bundle = result_pixels offset = slave \
    max_write_burst_length = 16 num_write_outstanding = 16
// clang-format on
#pragma HLS INTERFACE mode = s_axilite port = run_command offset = 0x10
#pragma HLS INTERFACE mode = s_axilite port = run_task offset = 0x18
#pragma HLS INTERFACE mode = s_axilite port = bank_program offset = 0x20
#pragma HLS INTERFACE mode = s_axilite port = bank_weights0 offset = 0x2c
#pragma HLS INTERFACE mode = s_axilite port = bank_weights1 offset = 0x38
#pragma HLS INTERFACE mode = s_axilite port = bank_weights2 offset = 0x44
#pragma HLS INTERFACE mode = s_axilite port = bank_weights3 offset = 0x50
#pragma HLS INTERFACE mode = s_axilite port = bank_tokens offset = 0x5c
#pragma HLS INTERFACE mode = s_axilite port = bank_residual offset = 0x68
#pragma HLS INTERFACE mode = s_axilite port = bank_records offset = 0x74
#pragma HLS INTERFACE mode = s_axilite port = bank_results offset = 0x80
#pragma HLS INTERFACE mode = s_axilite port = frame_pixels offset = 0x8c
#pragma HLS INTERFACE mode = s_axilite port = result_pixels offset = 0x98
#pragma HLS INTERFACE mode = s_axilite port = bank_bytes offset = 0xa4
#pragma HLS INTERFACE mode = s_axilite port = frame_bytes offset = 0xac
#pragma HLS INTERFACE mode = s_axilite port = result_bytes offset = 0xb4
#pragma HLS INTERFACE mode = s_axilite port = id_magic offset = 0xbc
#pragma HLS INTERFACE mode = s_axilite port = id_abi offset = 0xcc
#pragma HLS INTERFACE mode = s_axilite port = id_shape offset = 0xdc
#pragma HLS INTERFACE mode = s_axilite port = cap_half_lines offset = 0xec
#pragma HLS INTERFACE mode = s_axilite port = cap_tokens offset = 0xfc
#pragma HLS INTERFACE mode = s_axilite port = cap_map_lines offset = 0x10c
#pragma HLS INTERFACE mode = s_axilite port = run_error offset = 0x11c
#pragma HLS INTERFACE mode = s_axilite port = run_pc offset = 0x12c
#pragma HLS INTERFACE mode = s_axilite port = return
    using namespace m3vit;
    *id_magic = MAGIC;
    *id_abi = ABI_VERSION;
    *id_shape = TOKENS_PAR | OUT_PAR << 8 | IN_PAR << 16;
    *cap_half_lines = HALF_LINES;
    *cap_tokens = TOKEN_LIMIT;
    *cap_map_lines = MAP_LINES;

    Error error = command_error(run_command);
    bool running = run_command == COMMAND_RUN;
    Task task = {0, 0, {0, 0, 0, 0}};
    if (running) error = find_task(bank_program, bank_bytes, run_task, task);
    running = running && error == ERROR_OK;

    const Sizes sizes = {frame_bytes, result_bytes};
    Pending pending = {0, 0, 0, 0};
    uint32_t pc = running ? task.first : 0;
INSTRUCTIONS:
    for (uint32_t step = 0; step < MAX_INSTRUCTIONS && running; ++step) {
        const Instruction in = fetch(bank_program, pc);
        error = check_instruction(in, task.layout, sizes, pending);
        running = error == ERROR_OK && in.opcode != OP_END;
        if (running) {
            pending = pending_after(in, pending);
            if (is_matrix(in.opcode)) {
                const MatrixJob job = make_matrix_job(in, task.layout.part_lines);
                matrix_pass(job, bank_weights0, bank_weights1, bank_weights2, bank_weights3,
                            bank_tokens, bank_residual, bank_records, bank_results);
            } else {
                const RowJob job = make_row_job(in);
                row_pass(job, bank_weights0, bank_weights1, bank_weights2, bank_weights3,
                         bank_tokens, bank_residual, bank_results, frame_pixels, result_pixels);
            }
            ++pc;
            if (step + 1 == task.count) {  // no END
                error = ERROR_PROGRAM_RANGE;
                running = false;
            }
        }
    }
    const bool refused = error != ERROR_OK;
    *run_error = error;
    *run_pc = refused ? pc : 0;
}
