// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// Switches of the row pass: what the ports read goes to the process that the mode names,
// what that makes goes to the port that writes.
//
//   deal_rows    read -> to_combine | to_gate | to_neighbours
//   deal_table   tables -> to_normalise | to_collect
//   collect      updated and normalised in turn | records | upsampled | patches | copy -> stored
//   loop         beat
#ifndef M3VIT_DEAL_ROWS_H
#define M3VIT_DEAL_ROWS_H

#include "row_job.h"

namespace m3vit {

inline void deal_rows(uint32_t beats, uint8_t mode, Stream<PortBeat> &read,
                      Stream<PortBeat> &to_combine, Stream<PortBeat> &to_gate,
                      Stream<PortBeat> &to_neighbours) {
DEAL_ROWS:
    for (uint32_t i = 0; i < beats; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
        const PortBeat beat = read.read();
        if (mode == ROW_NORM) {
            to_combine.write(beat);
        } else if (mode == ROW_GATE) {
            to_gate.write(beat);
        } else {
            to_neighbours.write(beat);
        }
    }
}

inline void deal_table(uint32_t beats, uint8_t mode, Stream<PortBeat> &tables,
                       Stream<PortBeat> &to_normalise, Stream<PortBeat> &to_collect) {
DEAL_TABLE:
    for (uint32_t i = 0; i < beats; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
        const PortBeat beat = tables.read();
        if (mode == ROW_NORM) {
            to_normalise.write(beat);
        } else {
            to_collect.write(beat);
        }
    }
}

// With slots, residual rows and normalised rows take turns, as `write_tensors` writes them.
inline void collect(uint32_t beats, uint8_t mode, const NormJob norm, Stream<PortBeat> &updated,
                    Stream<PortBeat> &normalised, Stream<PortBeat> &records,
                    Stream<PortBeat> &upsampled, Stream<PortBeat> &rows, Stream<PortBeat> &copied,
                    Stream<PortBeat> &stored) {
    const bool both = norm.slots != 0;
    const int residual_last = norm.in_beats - 1;
    const int normalised_last = norm.out_beats - 1;
    const int turn_last = norm.turn_rows - 1;
    bool residual = both;
    uint32_t residual_left = norm.rows;
    uint32_t normalised_left = norm.rows;
    int row = 0;
    int at = 0;
COLLECT:
    for (uint32_t i = 0; i < beats; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
        PortBeat beat = zeros<PORT_BYTES>();
        if (mode == ROW_NORM) {
            if (residual) {
                beat = updated.read();
            } else {
                beat = normalised.read();
            }
        } else if (mode == ROW_GATE) {
            beat = records.read();
        } else if (mode == ROW_UPSAMPLE) {
            beat = upsampled.read();
        } else if (mode == ROW_PATCHES) {
            beat = rows.read();
        } else {
            beat = copied.read();
        }
        stored.write(beat);
        const bool row_ends = at == (residual ? residual_last : normalised_last);
        const bool last = residual ? residual_left == 1 : normalised_left == 1;
        const bool turn_ends = row_ends && (row == turn_last || last);
        at = row_ends ? 0 : at + 1;
        if (row_ends) {
            row = turn_ends ? 0 : row + 1;
            if (residual) {
                --residual_left;
            } else {
                --normalised_left;
            }
        }
        if (turn_ends && both) residual = !residual;
    }
}

}  // namespace m3vit

#endif
