// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// Softmax over whole rows of scores, whose exact maximum is therefore known.
//
//   in   job (rows, heads, passes, mult_a, shift_a; in other modes nothing happens)
//        scores         Result: unit (plane, tile, head), step: q . k of keys OH * step ...
//   out  probabilities  Piece: unit, piece of keys, pass, token; 0 behind the last key
//        sums           Sums: unit
//
// One flat loop of rounds. In round u the scores of unit u are requantised to int16, kept
// in rows and their maxima taken, while the probabilities of unit u - 1 leave: T x OH
// exponentials per cycle, through a shift register of a piece per query and digit, from
// which full pieces move to holding registers and leave one per cycle.
#ifndef M3VIT_SOFTMAX_H
#define M3VIT_SOFTMAX_H

#include "pieces.h"
#include "requantise.h"
#include "results.h"

namespace m3vit {

constexpr int ROW_STEPS = TOKEN_LIMIT / OH;  // words of rows of scores
// Of a word: one step of all queries.
constexpr int SCORE_BYTES = power_of_two(2 * OH * T);
constexpr int PIECE_STEPS = IN_PAR / OH;  // steps that fill a piece
constexpr int BLOCK_STEPS = static_cast<int>(KEY_BLOCK) / OH;
constexpr int LOWEST_SCORE = INT16_MIN;

static_assert(PIECE_STEPS >= 2 * T, "pieces of two digits leave before the next are full");

// rshift(EXP[delta & 255], min(delta >> 8, 31) + extra): 0 from a shift of 13 on.
inline UInt<12> exponential(uint16_t delta, int extra) {
#pragma HLS INLINE
    const uint32_t value = static_cast<uint32_t>(EXP_TABLE[delta & 255]);
    const int octaves = (delta >> 8) + extra;
    const UInt<4> by = octaves > 13 ? 13 : octaves;
    const uint32_t twice = by == 0 ? 2 * value : value >> (static_cast<uint32_t>(by) - 1);
    return (twice + 1) >> 1;
}

inline void softmax(const MatrixJob job, Stream<Result> &scores, Stream<Piece> &probabilities,
                    Stream<Sums> &sums) {
#pragma HLS BIND_STORAGE variable = EXP_TABLE type = rom_np impl = lutram
    const bool is_attention = job.mode == MODE_ATTENTION;
    const bool has_two_passes = job.passes == 2;
    const int digits = has_two_passes ? 2 : 1;
    const int extra = has_two_passes ? 0 : 4;
    const int keys = static_cast<int>(job.rows);
    const int steps = (keys + OH - 1) / OH;
    const int span = key_blocks(job.rows) * BLOCK_STEPS;  // >= steps and >= 2 * T
    const int units = is_attention ? counted<STEP_BITS, 6>(job.tiles, job.heads) : 0;
    const int total = units != 0 ? counted<16, STEP_BITS>(units + 1, span) + digits * T : 0;
    const uint8_t shift = job.shift_a & 63;

    Bytes<SCORE_BYTES> rows[2 * ROW_STEPS];
#ifdef M3VIT_URAM
#pragma HLS BIND_STORAGE variable = rows type = ram_s2p impl = uram
#else
#pragma HLS BIND_STORAGE variable = rows type = ram_s2p impl = bram
#endif
#ifdef M3VIT_BLOCKS
#pragma HLS ARRAY_PARTITION variable = rows block factor = board::BLOCKS
#endif
    int16_t largest[T];  // of the unit that arrives, so far
#pragma HLS ARRAY_PARTITION variable = largest complete
    int16_t top[T];  // of the unit that leaves
#pragma HLS ARRAY_PARTITION variable = top complete
    UInt<23> sum[T];
#pragma HLS ARRAY_PARTITION variable = sum complete
    Piece high[T];
#pragma HLS ARRAY_PARTITION variable = high complete
    Piece low[T];
#pragma HLS ARRAY_PARTITION variable = low complete
    Piece held[2 * T];
#pragma HLS ARRAY_PARTITION variable = held complete
CLEAR:
    for (int t = 0; t < T; ++t) {
#pragma HLS UNROLL
        largest[t] = LOWEST_SCORE;
        top[t] = LOWEST_SCORE;
        sum[t] = 0;
        high[t] = zeros<IN_PAR>();
        low[t] = zeros<IN_PAR>();
        held[t] = zeros<IN_PAR>();
        held[T + t] = zeros<IN_PAR>();
    }

    int unit = 0;  // that arrives
    int step = 0;
    int piece_step = 0;
    bool is_odd = false;
    int leaving = 2 * T;  // which held piece leaves next
SOFTMAX:
    for (int i = 0; i < total; ++i) {
#pragma HLS PIPELINE II = 1 style = flp
#pragma HLS DEPENDENCE variable = rows type = inter dependent = false
        const bool is_arriving = unit < units && step < steps;
        const bool is_leaving = unit != 0 && unit <= units;
        const bool is_piece = piece_step + 1 == PIECE_STEPS;
        const bool is_round_end = step + 1 == span;
        const int put = (is_odd ? ROW_STEPS : 0) + step;
        const int get = (is_odd ? 0 : ROW_STEPS) + step;

        // The unit that arrives.
        Result result = zeros<RESULT_BYTES>();
        if (is_arriving) result = scores.read();
        // The unit that leaves: what full shift registers held before this step.
        if (leaving < digits * T) {
            probabilities.write(held[leaving]);
            ++leaving;
        }
        Sums finished = zeros<QUERY_BYTES>();
        const Bytes<SCORE_BYTES> kept = rows[get];
        Bytes<SCORE_BYTES> arrived = zeros<SCORE_BYTES>();
        for (int t = 0; t < T; ++t) {
#pragma HLS UNROLL
            int16_t best = LOWEST_SCORE;  // of this step
            Bytes<OH> high_digits = zeros<OH>();
            Bytes<OH> low_digits = zeros<OH>();
            uint32_t added = 0;
            for (int o = 0; o < OH; ++o) {
#pragma HLS UNROLL
                const bool is_key = step * OH + o < keys;
                // |q . k| <= 64 * 2^14
                const Int<22> product = static_cast<int32_t>(word_at(result, t * OH + o));
                const int16_t score = static_cast<int16_t>(
                    clamped<39>(rounded<39>(scaled<22>(product, job.mult_a), shift), INT16_MAX));
                set_half(arrived, t * OH + o, static_cast<uint16_t>(score));
                if (is_key && score > best) best = score;

                const uint16_t delta =
                    static_cast<uint16_t>(top[t] - static_cast<int16_t>(half_at(kept, t * OH + o)));
                const UInt<12> value = exponential(delta, extra);
                const uint32_t probability = is_key ? static_cast<uint32_t>(value) : 0u;
                added += probability;
                set_byte(
                    high_digits, o,
                    static_cast<uint8_t>((has_two_passes ? probability >> 4 : probability) & 255));
                set_byte(low_digits, o, static_cast<uint8_t>(probability & 15));
            }
            if (is_arriving) {
                largest[t] = step == 0 || best > largest[t] ? best : largest[t];
            }
            const uint32_t before = step == 0 ? 0u : static_cast<uint32_t>(sum[t]);
            const uint32_t after = before + added;
            if (is_leaving) sum[t] = after;
            set_word(finished, t, after);

            const Piece longer_high = shift_in<IN_PAR, OH>(high[t], high_digits);
            const Piece longer_low = shift_in<IN_PAR, OH>(low[t], low_digits);
            high[t] = longer_high;
            low[t] = longer_low;
            if (is_piece && is_leaving) {
                held[t] = longer_high;
                held[T + t] = longer_low;
            }
            if (is_round_end) top[t] = largest[t];
        }
        if (is_arriving) rows[put] = arrived;
        if (is_piece && is_leaving) leaving = 0;
        if (is_round_end && is_leaving) sums.write(finished);

        piece_step = is_piece ? 0 : piece_step + 1;
        if (!is_round_end) {
            ++step;
        } else {
            step = 0;
            is_odd = !is_odd;
            ++unit;
        }
    }
}

}  // namespace m3vit

#endif
