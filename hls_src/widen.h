// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// Beats of two parts of the weight image become words of one half engine.
//
//   widen_a   beats of parts 0 and 1 -> words_a, parameters_a, tables
//   widen_b   beats of parts 2 and 3 -> words_b, parameters_b, values
//
// Per group of four outputs: the parameter beat of the even part's row, then of the
// odd part's; and per piece of the rows one word of both (OH = 2), or the word of the
// even part, then of the odd part (OH = 1).
// With GELU, tables gets the four lines that lie in front of a chunk's rows in part 0.
// ATTENTION: words_a holds OH keys a word, zero behind the last; values the beats of
// the plane of values as they come. Chunks without tiles bring nothing.
#ifndef M3VIT_WIDEN_H
#define M3VIT_WIDEN_H

#include "counts.h"
#include "pieces.h"
#include "shapes.h"

namespace m3vit {

constexpr int PIECE_BEATS = IN_PAR / PORT_BYTES;
static_assert(PIECE_BEATS > 1 && LINE_BEATS > 1, "odd rows wait for a beat without a word");

// One word of OH pieces.
inline Word join(const Piece &even, const Piece &odd) {
#pragma HLS INLINE
    Word word = zeros<IN_PAR * OH>();
    for (int i = 0; i < IN_PAR; ++i) {
#pragma HLS UNROLL
        set_byte(word, i, byte_at(even, i));
        if (OH == 2) set_byte(word, IN_PAR * (OH - 1) + i, byte_at(odd, i));
    }
    return word;
}

// Rows of `groups` groups, of `k_lines` lines each.
inline void widen_rows(uint32_t groups, uint32_t k_lines, Stream<PortBeat> &even_beats,
                       Stream<PortBeat> &odd_beats, Stream<Word> &words,
                       Stream<Bytes<BEAT>> &parameters) {
    const uint16_t row = static_cast<uint16_t>(ROW_HEAD + k_lines * LINE_BEATS);
    const uint16_t last_at = static_cast<uint16_t>(row - 1);
    const uint32_t beats = small_product(groups, row);
    const uint32_t steps = beats ? beats + 1 : 0;
    uint16_t at = 0;        // beat of the row
    uint8_t piece_at = 0;   // beat of the piece
    bool odd_word = false;  // a word of the odd part is due
    bool odd_parameter = false;
    Piece even = zeros<IN_PAR>();
    Piece odd = zeros<IN_PAR>();
    Bytes<BEAT> even_head = zeros<BEAT>();
    Bytes<BEAT> odd_head = zeros<BEAT>();
ROWS:
    for (uint32_t i = 0; i < steps; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
        const bool reads = i < beats;
        const bool head = at < ROW_HEAD;
        const bool head_done = reads && at == ROW_HEAD - 1;
        const bool piece_done = reads && !head && piece_at == PIECE_BEATS - 1;
        const Piece odd_before = odd;
        const Bytes<BEAT> odd_head_before = odd_head;
        if (reads) {
            const PortBeat even_beat = even_beats.read();
            const PortBeat odd_beat = odd_beats.read();
            if (head) {
                even_head = shift_in<BEAT, PORT_BYTES>(even_head, even_beat);
                odd_head = shift_in<BEAT, PORT_BYTES>(odd_head, odd_beat);
            } else {
                even = shift_in<IN_PAR, PORT_BYTES>(even, even_beat);
                odd = shift_in<IN_PAR, PORT_BYTES>(odd, odd_beat);
            }
        }
        if (piece_done || odd_word) {
            words.write(odd_word ? join(odd_before, odd_before) : join(even, odd));
        }
        if (head_done || odd_parameter) {
            parameters.write(odd_parameter ? odd_head_before : even_head);
        }
        odd_word = piece_done && OH == 1;
        odd_parameter = head_done;
        piece_at = head || piece_at == PIECE_BEATS - 1 ? 0 : piece_at + 1;
        at = at == last_at ? 0 : at + 1;
    }
}

// Lines of keys, OH a word.
inline void widen_keys(uint32_t keys, Stream<PortBeat> &beats, Stream<Word> &words) {
    const uint32_t lines = (keys + OH - 1) / OH * OH;
    const uint32_t steps = lines * LINE_BEATS;
    const uint16_t key_count = static_cast<uint16_t>(keys);
    uint16_t key = 0;
    uint8_t at = 0;        // beat of the line
    uint8_t piece_at = 0;  // beat of the piece
    Line line = zeros<LINE>();
    Line even = zeros<LINE>();  // pieces of the even key that wait for the odd one's
KEYS:
    for (uint32_t i = 0; i < steps; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
        const PortBeat beat = key < key_count ? beats.read() : zeros<PORT_BYTES>();
        line = shift_in<LINE, PORT_BYTES>(line, beat);
        const bool line_done = at == LINE_BEATS - 1;
        const bool last_of_word = (key & (OH - 1)) == OH - 1;
        if (piece_at == PIECE_BEATS - 1) {
            Piece piece = zeros<IN_PAR>();
            for (int b = 0; b < IN_PAR; ++b) {
#pragma HLS UNROLL
                set_byte(piece, b, byte_at(line, LINE - IN_PAR + b));
            }
            if (OH == 1) {
                words.write(join(piece, piece));
            } else if (last_of_word) {
                words.write(join(bottom<LINE, IN_PAR>(even), piece));
            }
            even = shift_in<LINE, IN_PAR>(even, piece);
        }
        piece_at = piece_at == PIECE_BEATS - 1 ? 0 : piece_at + 1;
        at = line_done ? 0 : at + 1;
        if (line_done) ++key;
    }
}

inline void widen_a(const MatrixJob job, Stream<Chunk> &chunks, Stream<PortBeat> &even_beats,
                    Stream<PortBeat> &odd_beats, Stream<Word> &words,
                    Stream<Bytes<BEAT>> &parameters, Stream<Line> &tables) {
    const bool attention = job.mode == MODE_ATTENTION;
    const bool gelu = job.activation == ACTIVATION_GELU;
// sequential: table, rows and keys of a chunk lie behind each other on one port
CHUNKS:
    for (uint32_t c = 0; c < job.chunks; ++c) {
        const Chunk chunk = chunks.read();
        const bool busy = chunk.tiles != 0;
        const uint32_t table = busy && gelu ? TABLE_LINES * LINE_BEATS : 0;
        const uint32_t groups = busy && !attention ? (chunk.outputs + 3) / 4 : 0;
        uint8_t at = 0;
        Line line = zeros<LINE>();
    TABLE:
        for (uint32_t i = 0; i < table; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
            line = shift_in<LINE, PORT_BYTES>(line, even_beats.read());
            if (at == LINE_BEATS - 1) tables.write(line);
            at = at == LINE_BEATS - 1 ? 0 : at + 1;
        }
        widen_rows(groups, job.k_lines, even_beats, odd_beats, words, parameters);
        widen_keys(attention ? job.rows : 0, even_beats, words);
    }
}

inline void widen_b(const MatrixJob job, Stream<Chunk> &chunks, Stream<PortBeat> &even_beats,
                    Stream<PortBeat> &odd_beats, Stream<Word> &words,
                    Stream<Bytes<BEAT>> &parameters, Stream<PortBeat> &values) {
    const bool attention = job.mode == MODE_ATTENTION;
    const uint32_t plane = attention ? job.rows * LINE_BEATS : 0;
// sequential: a chunk is either rows or a plane of values
CHUNKS:
    for (uint32_t c = 0; c < job.chunks; ++c) {
        const Chunk chunk = chunks.read();
        const bool busy = chunk.tiles != 0 && !attention;
        const uint32_t groups = busy ? (chunk.outputs + 3) / 4 : 0;
        widen_rows(groups, job.k_lines, even_beats, odd_beats, words, parameters);
    VALUES:
        for (uint32_t i = 0; i < plane; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
            values.write(even_beats.read());
        }
    }
}

}  // namespace m3vit

#endif
