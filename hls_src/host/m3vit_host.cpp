// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// The accelerator as a shared library: plain C entry points for
// m3vit_pynq/emulator/hostlib.py. Never synthesised.
#include "../m3vit_accel.cpp"

using namespace m3vit;

namespace {

PortBeat *beats(void *address) { return static_cast<PortBeat *>(address); }

// Pointers of the top function, in the order of its arguments.
constexpr int POINTERS = 11;

bool aligned(void *const *pointer) {
    for (int i = 0; i < POINTERS; ++i) {
        if (reinterpret_cast<uintptr_t>(pointer[i]) % LINE != 0) return false;
    }
    return true;
}

}  // namespace

// The top function. `out` receives the output registers in their order. The core does
// not see addresses: the bus in front of it refuses those between lines.
extern "C" void m3vit_host_accel(uint32_t run_command, uint32_t run_task, void *const *pointer,
                                 const uint32_t *bytes, uint32_t *out) {
    const bool refused = run_command == COMMAND_RUN && !aligned(pointer);
    const uint32_t command = refused ? uint32_t(COMMAND_IDENTIFY) : run_command;
    m3vit_accel(command, run_task, beats(pointer[0]), beats(pointer[1]), beats(pointer[2]),
                beats(pointer[3]), beats(pointer[4]), beats(pointer[5]), beats(pointer[6]),
                beats(pointer[7]), beats(pointer[8]), beats(pointer[9]), beats(pointer[10]),
                bytes[0], bytes[1], bytes[2], &out[0], &out[1], &out[2], &out[3], &out[4], &out[5],
                &out[6], &out[7]);
    if (refused) out[6] = ERROR_ALIGNMENT;
}

// Checks one instruction, and executes it unless it is refused or `only_check`. `slots`:
// what is pending, as struct Pending; changed as the instruction changes it.
extern "C" uint32_t m3vit_host_step(const uint32_t *words, void *bank, const uint32_t *sections,
                                    void *frame, uint32_t frame_bytes, void *result,
                                    uint32_t result_bytes, uint32_t *slots, uint32_t only_check) {
    const Instruction in = decode_instruction(words);
    const Layout layout = {sections[0], sections[1], sections[2], sections[3]};
    const Sizes sizes = {frame_bytes, result_bytes};
    const Pending pending = {slots[0], slots[1], slots[2], slots[3]};
    const Error error = check_instruction(in, layout, sizes, pending);
    if (error != ERROR_OK) return error;
    const Pending next = pending_after(in, pending);
    slots[0] = next.slots;
    slots[1] = next.line;
    slots[2] = next.rows;
    slots[3] = next.channels;
    if (in.opcode == OP_END || only_check != 0) return ERROR_OK;
    const Port<PortBeat> port(beats(bank));
    if (is_matrix(in.opcode)) {
        matrix_pass(make_matrix_job(in, layout.part_lines), port, port, port, port, port, port,
                    port, port);
    } else {
        row_pass(make_row_job(in), port, port, port, port, port, port, port, beats(frame),
                 beats(result));
    }
    return ERROR_OK;
}
