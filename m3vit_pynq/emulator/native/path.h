// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// A path: the arithmetic of the engine for one kind of processor. Every path is
// a translation unit of its own, compiled with its own target flags, and exports
// one constant of this type. Nothing with external linkage may be defined in
// headers that a path includes (no std templates, no inline functions): the
// linker would keep one copy for all paths, and a plain processor could get the
// one with AVX-512 in it.
#ifndef M3VIT_FAST_PATH_H
#define M3VIT_FAST_PATH_H

#include <stddef.h>
#include <stdint.h>

namespace fast {

constexpr int PANEL = 64;     // columns of packed weights that lie together
constexpr int MAX_TILE = 32;  // rows of the largest tile of any path

// Parameters of the columns of a panel. The 64-bit ones are ordered as the even
// and odd products of vectors lie: of 16 columns first the eight even ones.
struct PanelParams {
    int32_t bias[PANEL];      // with the offset of the packed rows folded in
    int32_t mult[PANEL];      // 0 where there is no column
    int32_t mult_odd[PANEL];  // multiplier of column c + 1 at each even c
    int64_t half[PANEL];
    int64_t shift[PANEL];
    uint8_t plain_shift[PANEL];
    int32_t valid;   // columns that exist
    int32_t narrow;  // no shift below 12: shifted results fit 32 bits
};

// Where column c of 16 stands among even and odd ones.
#define M3VIT_EVEN_ODD(c) (((c) & ~15) | (((c) & 1) << 3) | (((c) & 15) >> 1))

// Rows times a panel: out[r * PANEL + c] = sum over k of a[r][k] * b[k][c].
// Row r is `segments` stretches of k elements, the first at a + r * row_bytes,
// each segment_bytes after the one before. Rows and columns up to the path's
// granularity are read (and computed) beyond those that are asked for.
struct Dot {
    const uint8_t *a;
    size_t row_bytes;
    size_t segment_bytes;
    const int8_t *b;  // [segments * k / group][cols][group]
    int32_t rows;     // 1 ... tile
    int32_t cols;     // 16, 32, 48 or 64
    int32_t k;        // a multiple of unit
    int32_t segments;
    bool is_unsigned;  // elements are 0 ... 255 (packed by softmax), not int8 (packed by pack)
    int32_t *out;
};

struct ScoreScale {
    int32_t mult;
    int32_t shift;  // 1 ... 47
};

// One row of LAYERNORM after its moments.
struct Normalise {
    const int16_t *x;
    int32_t n;                         // channels
    int32_t sum;                       // S
    int32_t inverse;                   // inv
    int32_t z_shift;                   // 34 - k
    int32_t shift;                     // shift_a
    const int32_t *gamma, *gamma_odd;  // padded to 64 with zeros
    const int64_t *beta;               // beta + half of the shift, even and odd as in PanelParams
    int8_t *out;                       // whole lines; padding is written as zero
};

struct Path {
    const char *name;
    int32_t tile;             // rows of a tile, at most MAX_TILE
    int32_t group;            // consecutive k of a column in a packed panel
    int32_t unit;             // k is padded to a multiple of it: 16 or 64
    int32_t element;          // bytes of one packed element of a row: 1 or 2
    int32_t signed_offset;    // what packing adds to int8 elements
    int32_t unsigned_offset;  // what softmax adds to its elements
    bool wide;                // softmax elements hold 12 bits: no split in two

    void (*pack)(const int8_t *from, size_t n, uint8_t *to);
    void (*dot)(const Dot &);

    // Epilogues of a tile: acc[r * PANEL + c], rows to whole lines at to[r].
    void (*finish8)(const int32_t *acc, int32_t rows, const PanelParams &, int32_t activation,
                    const int8_t *gelu, uint8_t *const *to);
    void (*finish16)(const int32_t *acc, int32_t rows, const PanelParams &, bool add,
                     uint8_t *const *to);
    void (*finish32)(const int32_t *acc, int32_t rows, const PanelParams &, uint8_t *const *to);
    void (*finish_gated)(const int32_t *acc, int32_t rows, const PanelParams &,
                         const uint16_t *gates, uint8_t *const *to);

    // Scores of a tile against PANEL keys, of which `valid` exist; others become -32768.
    void (*scores)(const int32_t *acc, int32_t rows, const int32_t *offsets, int32_t valid,
                   const ScoreScale &, int16_t *to, size_t stride);
    // Probabilities of one row of n scores in packed elements, zero up to n padded to
    // PANEL; low only with two passes on a path that is not wide. Returns their sum.
    uint32_t (*softmax)(const int16_t *scores, int32_t n, int32_t passes, uint8_t *high,
                        uint8_t *low);
    // sat8(requant(rshift(a, first), mult, shift)) of n columns.
    void (*mix)(const int32_t *a, int32_t n, int32_t first, int32_t mult, int32_t shift,
                int8_t *to);

    void (*moments)(const int16_t *x, int32_t n, int32_t *sum, uint64_t *squares);
    void (*normalise)(const Normalise &);
    void (*add_rows)(int16_t *x, const int16_t *update, int32_t n);  // with saturation
    // One line of an enlarged pixel: 9 * near + 3 * (x + y) + xy.
    void (*blend_line)(const int8_t *near, const int8_t *x, const int8_t *y, const int8_t *xy,
                       int8_t *to);
    // best/index over one channel of a row of the class map; v[-1] and v[n] exist.
    void (*best_class)(const int32_t *v, int32_t n, int32_t side, int32_t near, int32_t far,
                       int32_t channel, int32_t *best, int32_t *index);
    uint64_t (*checksum)(const uint8_t *data, size_t bytes, uint64_t seed);

    // Around a thread's dot products; null where there is nothing to do.
    void (*begin)();
    void (*end)();
};

extern const Path path_plain;
#if defined(__x86_64__)
extern const Path path_avx2, path_avxvnni, path_avx512, path_amx;
#elif defined(__aarch64__)
extern const Path path_dotprod;
#endif

// Paths that this processor has, the fastest first; plain C++ is the last. Null at the end.
const Path *const *available_paths();

}  // namespace fast

#endif
