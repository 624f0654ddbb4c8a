// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// Reading and writing runs of consecutive beats on a memory port.
//
// Gathered runs are short: RUN_BEATS at most, as long as the bursts that the
// processing system takes. A group of RUN_GROUP of them is requested in one loop and
// moved in the next. Two groups are under way, so that the way to memory and back is not
// waited for: a read group is requested before the beats of the one before are taken, and
// a write group's responses are taken behind the beats of the next. Together they fit
// what a port buffers, so a request never waits for a beat that is taken later. A long
// run is a request alone; the port's adapter divides it.
//
//   read_lines   runs -> lines        gathered rows, or one long run per chunk
//   read_beats   runs -> beats        long runs only
//   write_lines  runs, lines ->       gathered rows
//
// For each of `chunks` chunks, `counts` says how many runs follow in `runs`, and how
// many lines they have; a chunk of more than one run has short ones only. Reads and
// writes keep the order of the runs.
#ifndef M3VIT_RUNS_H
#define M3VIT_RUNS_H

#include "descriptors.h"
#include "pieces.h"

namespace m3vit {

constexpr int RUN_BEATS = 16;
constexpr int RUN_GROUP = 8;
constexpr int RUN_LINES = RUN_BEATS / LINE_BEATS;

static_assert(SEGMENT % RUN_LINES == 0, "segments are whole runs");

#ifdef M3VIT_FLAT_BURSTS

// Requests and beats in one loop: a run is requested READ_AHEAD beats before its own.
constexpr uint32_t READ_AHEAD = 64;

inline void read_lines(uint32_t chunks, Port<PortBeat> bank, Stream<Runs> &counts,
                       Stream<Run> &runs, Stream<Line> &lines) {
// sequential: a chunk's length comes with it, and chunks are long
CHUNKS:
    for (uint32_t c = 0; c < chunks; ++c) {
        const Runs count = counts.read();
        const uint32_t beats = count.lines * LINE_BEATS;
        const uint32_t steps = beats ? beats + READ_AHEAD : 0;
        uint32_t left = 0;   // beats of the run requested last, with the one before this
        bool starts = true;  // a run; it has two beats or more
        uint8_t at = 0;      // beat of the line
        Line line = zeros<LINE>();
    BEATS:
        for (uint32_t i = 0; i < steps; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
            if (i < beats) {
                const bool ends = !starts && left == 2;
                --left;
                if (starts) {
                    const Run run = runs.read();
                    bank.read_request(run.beat, run.beats);
                    left = run.beats;
                }
                starts = ends;
            }
            if (i >= READ_AHEAD) {
                line = shift_in<LINE, PORT_BYTES>(line, bank.read());
                if (at == LINE_BEATS - 1) lines.write(line);
                at = at == LINE_BEATS - 1 ? 0 : at + 1;
            }
        }
    }
}

#else

inline void read_lines(uint32_t chunks, Port<PortBeat> bank, Stream<Runs> &counts,
                       Stream<Run> &runs, Stream<Line> &lines) {
// sequential: groups of requests and their beats take turns
CHUNKS:
    for (uint32_t c = 0; c < chunks; ++c) {
        uint32_t left = counts.read().runs;
        // One more than there are: the beats of the last.
        const uint32_t groups = left == 0 ? 0 : (left + RUN_GROUP - 1) / RUN_GROUP + 1;
        uint32_t before = 0;  // beats of the group before
    // sequential: groups of requests and the beats of those before take turns
    GROUPS:
        for (uint32_t g = 0; g < groups; ++g) {
            const uint8_t count = static_cast<uint8_t>(left < RUN_GROUP ? left : RUN_GROUP);
            left -= count;
            uint32_t beats = 0;
        REQUESTS:
            for (uint8_t i = 0; i < count; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
                const Run run = runs.read();
                bank.read_request(run.beat, run.beats);
                beats += run.beats;
            }
            uint8_t at = 0;  // beat of the line
            Line line = zeros<LINE>();
        BEATS:
            for (uint32_t i = 0; i < before; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
                line = shift_in<LINE, PORT_BYTES>(line, bank.read());
                if (at == LINE_BEATS - 1) lines.write(line);
                at = at == LINE_BEATS - 1 ? 0 : at + 1;
            }
            before = beats;
        }
    }
}

#endif

inline void read_beats(uint32_t count, Port<PortBeat> bank, Stream<Run> &runs,
                       Stream<PortBeat> &beats) {
// sequential: a run's length comes with it, and runs are long
RUNS:
    for (uint32_t r = 0; r < count; ++r) {
        const Run run = runs.read();
        if (run.beats != 0) bank.read_request(run.beat, run.beats);
    BEATS:
        for (uint32_t i = 0; i < run.beats; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
            beats.write(bank.read());
        }
    }
}

inline void write_lines(uint32_t chunks, Port<PortBeat> bank, Stream<Runs> &counts,
                        Stream<Run> &runs, Stream<Line> &lines) {
    uint8_t before = 0;  // runs of the group before, their responses have not been taken
// sequential: groups of requests, their beats and responses take turns
CHUNKS:
    for (uint32_t c = 0; c < chunks; ++c) {
        uint32_t left = counts.read().runs;
        const uint32_t groups = (left + RUN_GROUP - 1) / RUN_GROUP;
    // sequential: groups of requests, their beats and responses take turns
    GROUPS:
        for (uint32_t g = 0; g < groups; ++g) {
            const uint8_t count = static_cast<uint8_t>(left < RUN_GROUP ? left : RUN_GROUP);
            left -= count;
            uint32_t beats = 0;
        REQUESTS:
            for (uint8_t i = 0; i < count; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
                const Run run = runs.read();
                bank.write_request(run.beat, run.beats);
                beats += run.beats;
            }
            uint8_t at = 0;  // beat of the line
            Line line = zeros<LINE>();
        BEATS:
            for (uint32_t i = 0; i < beats; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
                if (at == 0) line = lines.read();
                bank.write(bottom<LINE, PORT_BYTES>(line));
                line = shift_out<LINE, PORT_BYTES>(line);
                at = at == LINE_BEATS - 1 ? 0 : at + 1;
            }
        RESPONSES:
            for (uint8_t i = 0; i < before; ++i) {
#pragma HLS PIPELINE II = 1
                bank.write_response();
            }
            before = count;
        }
    }
LAST_RESPONSES:
    for (uint8_t i = 0; i < before; ++i) {
#pragma HLS PIPELINE II = 1
        bank.write_response();
    }
}

}  // namespace m3vit

#endif
