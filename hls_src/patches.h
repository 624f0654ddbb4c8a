// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// LOAD_PATCHES: the frame, strip by strip, to rows of patches; bytes XOR 0x80.
//
//   in     pixels    the frame as beats, whatever the length of its rows
//   out    rows      patches as whole lines
//   loop   strip: its beats; then patch x (piece x beat; beats of the last line)
//   memory one strip, its first beat in a register
//
// A piece, a patch's share of a frame row, may start anywhere in a beat. Each step takes
// what belongs to it of one beat and appends it to the bytes that wait for a full beat.
#ifndef M3VIT_PATCHES_H
#define M3VIT_PATCHES_H

#include "beat_words.h"
#include "row_job.h"

namespace m3vit {

constexpr int STRIP_BEATS = static_cast<int>(MAX_STRIP) / PORT_BYTES;
constexpr int PORT_BITS = PORT_BYTES == 16 ? 4 : 3;
constexpr int FUNNEL = 2 * PORT_BYTES;

static_assert(1 << PORT_BITS == PORT_BYTES, "beats of 8 or 16 bytes");

// Bytes `from` ... `from + count - 1` of a beat, moved to place `to` of the funnel; zero
// around them. One byte of pixels each, so that they become int8.
inline Bytes<FUNNEL> placed(const PortBeat &beat, int from, int count, int to) {
#pragma HLS INLINE
    Bytes<FUNNEL> moved = zeros<FUNNEL>();
    for (int b = 0; b < PORT_BYTES; ++b) {
#pragma HLS UNROLL
        const bool taken = b >= from && b < from + count;
        const uint8_t pixel = static_cast<uint8_t>(byte_at(beat, b) ^ 0x80);
        set_byte(moved, b, static_cast<uint8_t>(taken ? pixel : 0));
    }
    // A rotation by to - from: bytes that fall off one end are wanted at the other.
    const int turn = (to - from) & (FUNNEL - 1);
    for (int level = 0; level < PORT_BITS + 1; ++level) {
#pragma HLS UNROLL
        Bytes<FUNNEL> turned = zeros<FUNNEL>();
        for (int b = 0; b < FUNNEL; ++b) {
#pragma HLS UNROLL
            set_byte(turned, (b + (1 << level)) % FUNNEL, byte_at(moved, b));
        }
        if (((turn >> level) & 1) != 0) moved = turned;
    }
    return moved;
}

inline Bytes<FUNNEL> joined(const Bytes<FUNNEL> &a, const Bytes<FUNNEL> &b) {
#pragma HLS INLINE
    Bytes<FUNNEL> both = zeros<FUNNEL>();
    for (int i = 0; i < FUNNEL; ++i) {
#pragma HLS UNROLL
        set_byte(both, i, static_cast<uint8_t>(byte_at(a, i) | byte_at(b, i)));
    }
    return both;
}

// What a piece that starts at byte `start` takes of its first beat.
inline int first_bytes(int piece_bytes, int start) {
#pragma HLS INLINE
    const int room = PORT_BYTES - (start & (PORT_BYTES - 1));
    return piece_bytes < room ? piece_bytes : room;
}

inline void patches(const PatchJob job, Stream<PortBeat> &pixels, Stream<PortBeat> &rows) {
    PortBeat strip[STRIP_BEATS];
#ifdef M3VIT_URAM
#pragma HLS BIND_STORAGE variable = strip type = ram_s2p impl = uram
#else
#pragma HLS BIND_STORAGE variable = strip type = ram_s2p impl = bram
#endif
    PortBeat head = zeros<PORT_BYTES>();  // first beat of the strip
    PortBeat tail = zeros<PORT_BYTES>();  // last beat that arrived
    int phase = 0;                        // byte of the head in which the strip starts
// sequential: a patch needs the last frame row of its strip
STRIPS:
    for (uint32_t s = 0; s < job.strips; ++s) {
        const int reused = phase != 0 ? 1 : 0;
        const int beats = ((phase + job.strip_bytes + PORT_BYTES - 1) >> PORT_BITS) - reused;
        if (reused != 0) head = tail;
    FILL_STRIP:
        for (int i = 0; i < beats; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
            const PortBeat beat = pixels.read();
            const int index = i + reused;
            if (index == 0) {
                head = beat;
            } else {
                strip[index - 1] = beat;
            }
            tail = beat;
        }
        Bytes<FUNNEL> waiting = zeros<FUNNEL>();
        int fill = 0;           // bytes that wait
        int patch = phase;      // first byte of the patch, from the start of the head
        int piece = phase;      // of the piece
        int following = phase;  // of the next piece; a piece takes two steps or more
        int index = 0;          // beat
        int from = phase;       // first byte of it that is taken
        int count = first_bytes(job.piece_bytes, phase);
        int left = job.piece_bytes;
        int line = 0;  // frame row
        int step = 0;
        bool flushing = false;
    GIVE_PATCHES:
        for (uint32_t i = 0; i < job.give_steps; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
            const PortBeat stored = strip[(index - 1) & (STRIP_BEATS - 1)];
            const PortBeat beat = index == 0 ? head : stored;
            const int taken = flushing ? 0 : count;
            const int waits = fill + taken;
            const bool gives = waits >= PORT_BYTES || flushing;
            const Bytes<FUNNEL> all = joined(waiting, placed(beat, from, taken, fill));
            if (gives) rows.write(part_of<FUNNEL, PORT_BYTES>(all, 0));
            waiting = gives ? shifted_in<FUNNEL, PORT_BYTES>(all, zeros<PORT_BYTES>()) : all;
            fill = flushing ? 0 : waits & (PORT_BYTES - 1);

            const int last_step = flushing ? job.flush_steps - 1 : job.piece_steps - 1;
            const bool ends = step == last_step;
            const bool piece_ends = ends && !flushing;
            const bool patch_ends = piece_ends && line == job.patch - 1;
            const int rest = left - count;
            const int next =
                line == job.patch - 1 ? patch + job.piece_bytes : piece + job.row_bytes;
            step = ends ? 0 : step + 1;
            if (piece_ends) {
                line = patch_ends ? 0 : line + 1;
                if (patch_ends) patch = following;
                piece = following;
                index = following >> PORT_BITS;
                from = following & (PORT_BYTES - 1);
                left = job.piece_bytes;
                count = first_bytes(job.piece_bytes, following);
            } else if (!flushing) {
                ++index;
                from = 0;
                left = rest;
                count = rest < PORT_BYTES ? rest : PORT_BYTES;
            }
            following = next;
            if (ends) flushing = patch_ends && job.flush_steps != 0;
        }
        phase = (phase + job.strip_bytes) & (PORT_BYTES - 1);
    }
}

}  // namespace m3vit

#endif
