// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// What is refused (docs/numerics.md, Refusals): each instruction as a whole before it
// reads or writes anything, the checks in a fixed order.
//
//   check_shape.h     limits of the architecture
//   check_ranges.h    what lies where: workspace, frame, result, weight image, overlap
//   check_buffers.h   the board's buffers; slots of experts
#ifndef M3VIT_CHECK_H
#define M3VIT_CHECK_H

#include "check_buffers.h"
#include "check_ranges.h"
#include "check_shape.h"

namespace m3vit {

inline Error check_instruction(const Instruction &in, const Layout &layout, const Sizes &sizes,
                               const Pending &pending) {
#pragma HLS INLINE off
#pragma HLS ALLOCATION function instances = product16 limit = 1
#pragma HLS ALLOCATION function instances = multiple limit = 1
#pragma HLS ALLOCATION function instances = divide limit = 1
    if (in.opcode > OP_EXPERTS_DOWN) return ERROR_BAD_OPCODE;
    if (!shape_allowed(in)) return ERROR_SHAPE;
    const Touched touched = touched_by(in);
    if (!reads_inside(touched, layout)) return ERROR_READ_RANGE;
    if (touched.frame_bytes > sizes.frame_bytes) return ERROR_FRAME_RANGE;
    if (!writes_inside(touched, layout)) return ERROR_WRITE_RANGE;
    if (touched.result_bytes > sizes.result_bytes) return ERROR_RESULT_RANGE;
    if (written_meets_other(touched)) return ERROR_OVERLAP;
    if (!weights_inside(in, layout)) return ERROR_WEIGHTS_RANGE;
    if (!buffers_suffice(in)) return ERROR_CAPACITY;
    return slots_fit(in, pending) ? ERROR_OK : ERROR_SLOTS;
}

}  // namespace m3vit

#endif
