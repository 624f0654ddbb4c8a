// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// Values of ATTENTION from rows of channels to rows of keys: words for engine B.
//
//   in   job (rows, heads, head_dim; in other modes nothing happens)
//        values  PortBeat: plane, token, beat of its line
//   out  turned  Word: plane, block of 64 keys, step of OH channels of the plane's heads,
//                piece: OH channels of IN_PAR keys each; keys behind the last are 0
//
// A double buffer of 64 keys x 64 channels in as many banks as a beat has bytes. Byte
// (key j, channel c) lies in bank (c + j) mod BANKS, so that a beat of channels of one key
// and a slice of keys of one channel both touch every bank once. One flat loop of rounds:
// a block arrives while the one before it leaves, a slice per iteration.
#ifndef M3VIT_TRANSPOSE_H
#define M3VIT_TRANSPOSE_H

#include "pieces.h"
#include "results.h"

namespace m3vit {

constexpr unsigned BANKS = PORT_BYTES;
constexpr unsigned KEY_BEATS = LINE / BANKS;             // beats of a key
constexpr unsigned BLOCK_BEATS = KEY_BLOCK * KEY_BEATS;  // and of a block
constexpr unsigned SLICES = IN_PAR * OH / BANKS;         // slices of a word

// Byte i of the result is byte (i - by) mod BANKS: log2(BANKS) stages.
inline PortBeat rotated(const PortBeat &beat, unsigned by) {
#pragma HLS INLINE
    PortBeat turned = beat;
    for (unsigned stage = 1; stage < BANKS; stage *= 2) {
#pragma HLS UNROLL
        PortBeat moved = zeros<PORT_BYTES>();
        for (unsigned i = 0; i < BANKS; ++i) {
#pragma HLS UNROLL
            set_byte(moved, i, byte_at(turned, (i + BANKS - stage) % BANKS));
        }
        if ((by & stage) != 0) turned = moved;
    }
    return turned;
}

inline void transpose(const MatrixJob job, Stream<PortBeat> &values, Stream<Word> &turned) {
    const int keys = static_cast<int>(job.rows);
    const int blocks = key_blocks(job.rows);
    const int all_channels = counted<9, 8>(job.heads, job.head_dim);
    const int planes = (all_channels + LINE - 1) / LINE;
    const int rounds = job.mode == MODE_ATTENTION ? counted<9, 8>(planes, blocks) : 0;
    constexpr unsigned SPAN = BLOCK_BEATS + SETTLE;
    const int total = rounds != 0 ? (rounds + 1) * static_cast<int>(SPAN) : 0;

    uint8_t bank[BANKS][2 * BLOCK_BEATS];
#pragma HLS ARRAY_PARTITION variable = bank dim = 1 complete
#pragma HLS BIND_STORAGE variable = bank type = ram_s2p impl = bram

    int round = 0;  // of the block that arrives
    unsigned step = 0;
    bool is_odd = false;
    int key = 0;                                               // that arrives, of its plane
    int block = 0;                                             // that arrives, of its plane
    int channels = all_channels < LINE ? all_channels : LINE;  // of the plane that arrives
    int left = all_channels;    // channels of it and of the planes behind it
    unsigned out_channels = 0;  // of the plane that leaves
    Word word = zeros<IN_PAR * OH>();
    unsigned slice = 0;  // of the word
    // A word is OH channels x IN_PAR keys; slices ascend by keys, channels of the step, pieces.
    unsigned channel = 0;  // first of the step
    unsigned of_step = 0;  // channel of the step
    unsigned of_piece = 0;
    unsigned out_piece = 0;
TRANSPOSE:
    for (int i = 0; i < total; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
#pragma HLS DEPENDENCE variable = bank type = inter dependent = false
        const bool is_arriving = round < rounds && step < BLOCK_BEATS;
        const bool is_leaving = round != 0 && channel < out_channels;

        // In: beats of a key ascend; keys behind the last are zero.
        PortBeat beat = zeros<PORT_BYTES>();
        if (is_arriving && key < keys) beat = values.read();
        const PortBeat skewed = rotated(beat, (step / KEY_BEATS) % BANKS);
        // Out: keys first_key ... of one channel.
        const unsigned c = channel + of_step;
        const unsigned first_key = out_piece * IN_PAR + of_piece * BANKS;
        PortBeat slices = zeros<PORT_BYTES>();
        for (unsigned b = 0; b < BANKS; ++b) {
#pragma HLS UNROLL
            const unsigned j = first_key | ((b + BANKS - c % BANKS) % BANKS);
            const unsigned get =
                (is_odd ? 0 : BLOCK_BEATS) | j * KEY_BEATS | (c / BANKS) % KEY_BEATS;
            const unsigned put = (is_odd ? BLOCK_BEATS : 0) | step % BLOCK_BEATS;
            set_byte(slices, b, bank[b][get]);
            if (is_arriving) bank[b][put] = byte_at(skewed, b);
        }
        word =
            shift_in<IN_PAR * OH, PORT_BYTES>(word, rotated(slices, (BANKS - c % BANKS) % BANKS));
        if (is_leaving && slice == SLICES - 1) turned.write(word);

        if (is_leaving) {
            slice = slice == SLICES - 1 ? 0 : slice + 1;
            if (of_piece != IN_PAR / BANKS - 1) {
                ++of_piece;
            } else {
                of_piece = 0;
                if (of_step != static_cast<unsigned>(OH) - 1) {
                    ++of_step;
                } else {
                    of_step = 0;
                    if (out_piece != static_cast<unsigned>(PIECES) - 1) {
                        ++out_piece;
                    } else {
                        out_piece = 0;
                        channel += OH;
                    }
                }
            }
        }
        if (is_arriving && step % KEY_BEATS == KEY_BEATS - 1) ++key;
        if (step != SPAN - 1) {
            ++step;
        } else {
            step = 0;
            is_odd = !is_odd;
            ++round;
            channel = 0;
            out_channels = static_cast<unsigned>(channels);
            if (block + 1 < blocks) {
                ++block;
            } else {
                block = 0;
                key = 0;
                left -= LINE;
                channels = left < LINE ? left : LINE;
            }
        }
    }
}

}  // namespace m3vit

#endif
