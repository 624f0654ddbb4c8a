// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// Where the sections of a bank lie, and how large the buffers of a run are.
#ifndef M3VIT_LAYOUT_H
#define M3VIT_LAYOUT_H

#include <stdint.h>

namespace m3vit {

// Sections of a bank in lines: the weight image of four parts, the workspace.
struct Layout {
    uint32_t weights_line;
    uint32_t part_lines;
    uint32_t workspace_line;
    uint32_t workspace_lines;
};

struct Sizes {
    uint32_t frame_bytes;
    uint32_t result_bytes;
};

}  // namespace m3vit

#endif
