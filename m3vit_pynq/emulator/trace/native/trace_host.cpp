// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// The traced copy of the accelerator as a shared library. Never synthesised.
#include "m3vit_accel.cpp"
#include "report.h"

using namespace m3vit;

namespace {

std::string text;  // the report of the last call

// Masters, in the order of the top's arguments.
enum Master : uint32_t {
    PROGRAM,
    WEIGHTS0,
    WEIGHTS1,
    WEIGHTS2,
    WEIGHTS3,
    TOKENS,
    RESIDUAL,
    RECORDS,
    RESULTS,
    FRAME,
    RESULT,
};

PortBeat *beats(void *address) { return static_cast<PortBeat *>(address); }

struct Memories {
    PortBeat *bank;
    PortBeat *frame;
    PortBeat *result;
};

void region(const Instruction &in, const Layout &layout, const Memories &to) {
    using P = Port<PortBeat>;
    const P weights0(to.bank, WEIGHTS0), weights1(to.bank, WEIGHTS1), weights2(to.bank, WEIGHTS2),
        weights3(to.bank, WEIGHTS3), tokens(to.bank, TOKENS), residual(to.bank, RESIDUAL),
        records(to.bank, RECORDS), results(to.bank, RESULTS), frame(to.frame, FRAME),
        result(to.result, RESULT);
    if (is_matrix(in.opcode)) {
        const MatrixJob job = make_matrix_job(in, layout.part_lines);
        trace::recorder().begin();
        matrix_pass(job, weights0, weights1, weights2, weights3, tokens, residual, records,
                    results);
    } else {
        const RowJob job = make_row_job(in);
        trace::recorder().begin();
        row_pass(job, weights0, weights1, weights2, weights3, tokens, residual, results, frame,
                 result);
    }
}

}  // namespace

extern "C" const char *m3vit_trace_report() { return text.c_str(); }

// Fetches instruction `pc`, checks and executes it. The report has the time of the top
// and of the region. Returns the code with which it is refused, or 1000: the trace is
// too long.
extern "C" uint32_t m3vit_trace_step(uint32_t pc, void *bank, const uint32_t *sections, void *frame,
                                     uint32_t frame_bytes, void *result, uint32_t result_bytes,
                                     uint32_t *slots) {
    constexpr uint32_t TOO_LONG = 1000;
    const Layout layout = {sections[0], sections[1], sections[2], sections[3]};
    const Sizes sizes = {frame_bytes, result_bytes};
    const Pending pending = {slots[0], slots[1], slots[2], slots[3]};
    trace::Recorder &recorder = trace::recorder();
    text = "{\"top\":";
    try {
        recorder.begin();
        recorder.process("top");
        const Instruction in = fetch(Port<PortBeat>(beats(bank), PROGRAM), pc);
        const Error error = check_instruction(in, layout, sizes, pending);
        if (error != ERROR_OK) return error;
        const bool runs = in.opcode != OP_END;
        if (runs && is_matrix(in.opcode)) make_matrix_job(in, layout.part_lines);
        if (runs && !is_matrix(in.opcode)) make_row_job(in);
        trace::run_recorded(text, false);
        const Pending next = pending_after(in, pending);
        slots[0] = next.slots;
        slots[1] = next.line;
        slots[2] = next.rows;
        slots[3] = next.channels;
        if (runs) {
            recorder.begin();
            region(in, layout, Memories{beats(bank), beats(frame), beats(result)});
            text += ",\"region\":";
            trace::run_recorded(text, true);
        }
    } catch (const trace::TooLong &) {
        recorder.begin();
        return TOO_LONG;
    }
    recorder.begin();
    text += "}";
    return ERROR_OK;
}
