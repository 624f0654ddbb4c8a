// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// The row pass: instructions that move or change rows without the matrix engine. One
// region of processes; an instruction leaves those that it does not use without work.
//
//   read ──> combine ─> stats ─> scale ─> root ─> inverse ─> normalise ─┐   LAYERNORM
//       ├──> gate: select ─> sum ─> divide ─> records ──────────────────┤   GATE
//       └──> neighbours ─┬─> upsample ──────────────────────────────────┤   UPSAMPLE2X
//                        ├─> classes ─┬─> pack ─> write result          │   OUTPUT_CLASSES
//                        └─> depth ───┘                                 │   OUTPUT_DEPTH
//   read frame ─> patches ──────────────────────────────────────────────┤   LOAD_PATCHES
//   read table (to normalise, or) ──────────────────────────────────────┴─> write   LOAD_RESIDUAL
//
// An address that is written in the pass is never read after that: residual rows are
// read once, each before its own write. LAYERNORM with slots writes two tensors through
// the one port that writes: by turns, some rows of each (`collect`, `write_tensors`).
//
// Why the depths suffice, even if a pipeline whose input is empty keeps what it has
// computed (loops ask for style = flp, which delivers it, but nothing depends on that):
//   waiting      a row of the longest until its inverse is there, and what comes meanwhile
//   updated      a row and more beyond a turn: they push the turn's last row through
//   normalised   the rows of a turn, while the residual rows of that turn are written
//   logits       the logits of a token until its largest is known, and one pipeline
//   the others   what a port's group of requests takes or leaves without a beat
#ifndef M3VIT_ROW_PASS_H
#define M3VIT_ROW_PASS_H

#include "classes.h"
#include "combine.h"
#include "deal_rows.h"
#include "depth.h"
#include "gate.h"
#include "neighbours.h"
#include "norm_root.h"
#include "norm_stats.h"
#include "normalise.h"
#include "pack_result.h"
#include "patches.h"
#include "read_rows.h"
#include "row_job.h"
#include "upsample.h"
#include "write_tensors.h"

namespace m3vit {

inline void row_pass(const RowJob job, Port<PortBeat> weights0, Port<PortBeat> weights1,
                     Port<PortBeat> weights2, Port<PortBeat> weights3, Port<PortBeat> tokens,
                     Port<PortBeat> residual, Port<PortBeat> results, Port<PortBeat> frame,
                     Port<PortBeat> result_pixels) {
#pragma HLS DATAFLOW
    // What the ports read.
    Stream<PortBeat> source("source");
    Stream<PortBeat> slots0("slots0");
    Stream<PortBeat> slots1("slots1");
    Stream<PortBeat> slots2("slots2");
    Stream<PortBeat> slots3("slots3");
    Stream<PortBeat> tables("tables");
    Stream<PortBeat> pixels("pixels");
#pragma HLS STREAM variable = source depth = 64
#pragma HLS BIND_STORAGE variable = source type = fifo impl = srl
#pragma HLS STREAM variable = slots0 depth = 64
#pragma HLS BIND_STORAGE variable = slots0 type = fifo impl = srl
#pragma HLS STREAM variable = slots1 depth = 64
#pragma HLS BIND_STORAGE variable = slots1 type = fifo impl = srl
#pragma HLS STREAM variable = slots2 depth = 64
#pragma HLS BIND_STORAGE variable = slots2 type = fifo impl = srl
#pragma HLS STREAM variable = slots3 depth = 64
#pragma HLS BIND_STORAGE variable = slots3 type = fifo impl = srl
#pragma HLS STREAM variable = tables depth = 64
#pragma HLS BIND_STORAGE variable = tables type = fifo impl = srl
#pragma HLS STREAM variable = pixels depth = 64
#pragma HLS BIND_STORAGE variable = pixels type = fifo impl = srl
    read_rows(job.source, tokens, source);
    read_rows(job.slots0, weights0, slots0);
    read_rows(job.slots1, weights1, slots1);
    read_rows(job.slots2, weights2, slots2);
    read_rows(job.slots3, weights3, slots3);
    read_rows(job.table, residual, tables);
    read_rows(job.frame, frame, pixels);

    Stream<PortBeat> to_combine("to_combine");
    Stream<PortBeat> to_gate("to_gate");
    Stream<PortBeat> to_neighbours("to_neighbours");
    Stream<PortBeat> to_normalise("to_normalise");
    Stream<PortBeat> copied("copied");
#pragma HLS STREAM variable = to_combine depth = 16
#pragma HLS BIND_STORAGE variable = to_combine type = fifo impl = srl
#pragma HLS STREAM variable = to_gate depth = 16
#pragma HLS BIND_STORAGE variable = to_gate type = fifo impl = srl
#pragma HLS STREAM variable = to_neighbours depth = 16
#pragma HLS BIND_STORAGE variable = to_neighbours type = fifo impl = srl
#pragma HLS STREAM variable = to_normalise depth = 16
#pragma HLS BIND_STORAGE variable = to_normalise type = fifo impl = srl
#pragma HLS STREAM variable = copied depth = 16
#pragma HLS BIND_STORAGE variable = copied type = fifo impl = srl
    deal_rows(job.source_beats, job.mode, source, to_combine, to_gate, to_neighbours);
    deal_table(job.table_beats, job.mode, tables, to_normalise, copied);

    // LAYERNORM. `waiting` holds a row until its inverse is there, `normalised` those of a turn.
    Stream<PortBeat> completed("completed");
    Stream<PortBeat> updated("updated");
    Stream<PortBeat> waiting("waiting");
    Stream<Moments> moments("moments");
    Stream<Radicand> radicands("radicands");
    Stream<RowScale> roots("roots");
    Stream<RowScale> inverses("inverses");
    Stream<PortBeat> normalised("normalised");
#pragma HLS STREAM variable = completed depth = 16
#pragma HLS BIND_STORAGE variable = completed type = fifo impl = srl
#pragma HLS STREAM variable = updated depth = 512
#pragma HLS BIND_STORAGE variable = updated type = fifo impl = bram
#pragma HLS STREAM variable = waiting depth = 512
#pragma HLS STREAM variable = moments depth = 4
#pragma HLS BIND_STORAGE variable = moments type = fifo impl = srl
#pragma HLS STREAM variable = radicands depth = 4
#pragma HLS BIND_STORAGE variable = radicands type = fifo impl = srl
#pragma HLS STREAM variable = roots depth = 4
#pragma HLS BIND_STORAGE variable = roots type = fifo impl = srl
#pragma HLS STREAM variable = inverses depth = 4
#pragma HLS BIND_STORAGE variable = inverses type = fifo impl = srl
#pragma HLS STREAM variable = normalised depth = 512
#pragma HLS BIND_STORAGE variable = waiting type = fifo impl = bram
#pragma HLS BIND_STORAGE variable = normalised type = fifo impl = bram
    combine(job.norm, to_combine, slots0, slots1, slots2, slots3, completed, updated);
    norm_stats(job.norm, completed, waiting, moments);
    norm_scale(job.norm, moments, radicands);
    norm_root(job.norm, radicands, roots);
    norm_inverse(job.norm, roots, inverses);
    normalise(job.norm, to_normalise, waiting, inverses, normalised);

    // GATE. `logits` holds the logits of a token until its largest is known.
    Stream<int32_t> logits("logits");
    Stream<Line> decisions("decisions");
    Stream<Line> decided("decided");
    Stream<uint32_t> totals("totals");
    Stream<PortBeat> entries("entries");
    Stream<PortBeat> records("records");
#pragma HLS STREAM variable = logits depth = 128
#pragma HLS BIND_STORAGE variable = logits type = fifo impl = srl
#pragma HLS STREAM variable = decisions depth = 4
#pragma HLS BIND_STORAGE variable = decisions type = fifo impl = srl
#pragma HLS STREAM variable = decided depth = 4
#pragma HLS BIND_STORAGE variable = decided type = fifo impl = srl
#pragma HLS STREAM variable = totals depth = 4
#pragma HLS BIND_STORAGE variable = totals type = fifo impl = srl
#pragma HLS STREAM variable = entries depth = 16
#pragma HLS BIND_STORAGE variable = entries type = fifo impl = srl
#pragma HLS STREAM variable = records depth = 16
#pragma HLS BIND_STORAGE variable = records type = fifo impl = srl
    gate_select(job.gate, to_gate, logits, decisions);
    gate_sum(job.gate, logits, decisions, decided, totals);
    gate_divide(job.gate, decided, totals, entries);
    gate_records(job.gate, entries, records);

    // Maps.
    Stream<Corners> to_upsample("to_upsample");
    Stream<Corners> to_classes("to_classes");
    Stream<Corners> to_depth("to_depth");
    Stream<PortBeat> upsampled("upsampled");
    Stream<uint8_t> ids("ids");
    Stream<uint16_t> distances("distances");
    Stream<PortBeat> image("image");
#pragma HLS STREAM variable = to_upsample depth = 4
#pragma HLS BIND_STORAGE variable = to_upsample type = fifo impl = srl
#pragma HLS STREAM variable = to_classes depth = 4
#pragma HLS BIND_STORAGE variable = to_classes type = fifo impl = srl
#pragma HLS STREAM variable = to_depth depth = 4
#pragma HLS BIND_STORAGE variable = to_depth type = fifo impl = srl
#pragma HLS STREAM variable = upsampled depth = 16
#pragma HLS BIND_STORAGE variable = upsampled type = fifo impl = srl
#pragma HLS STREAM variable = ids depth = 16
#pragma HLS BIND_STORAGE variable = ids type = fifo impl = srl
#pragma HLS STREAM variable = distances depth = 16
#pragma HLS BIND_STORAGE variable = distances type = fifo impl = srl
#pragma HLS STREAM variable = image depth = 64
#pragma HLS BIND_STORAGE variable = image type = fifo impl = srl
    neighbours(job.map, to_neighbours, to_upsample, to_classes, to_depth);
    upsample(job.upsample, to_upsample, upsampled);
    classes(job.classes, to_classes, ids);
    depth(job.depth, to_depth, distances);
    pack_result(job.result, ids, distances, image);

    Stream<PortBeat> rows("rows");
    Stream<PortBeat> stored("stored");
#pragma HLS STREAM variable = rows depth = 16
#pragma HLS BIND_STORAGE variable = rows type = fifo impl = srl
#pragma HLS STREAM variable = stored depth = 64
#pragma HLS BIND_STORAGE variable = stored type = fifo impl = srl
    patches(job.patches, pixels, rows);
    collect(job.target_beats, job.mode, job.norm, updated, normalised, records, upsampled, rows,
            copied, stored);
    write_tensors(job.updated, job.target, stored, results);
    write_tensors(job.nothing, job.image, image, result_pixels);
}

}  // namespace m3vit

#endif
