// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// Trip counts of the processes around the engines.
#ifndef M3VIT_COUNTS_H
#define M3VIT_COUNTS_H

#include "descriptors.h"

namespace m3vit {

// A product for a trip count or a place: some cycles once per chunk, and no DSP, which
// the engines need.
inline uint32_t small_product(uint32_t a, uint32_t b) {
#pragma HLS INLINE
    uint32_t product = a * b;
#pragma HLS BIND_OP variable = product op = mul impl = fabric
    return product;
}

// Valid rows of all tiles of a chunk.
inline uint32_t chunk_rows(const Chunk &chunk) {
#pragma HLS INLINE
    return chunk.tiles == 0 ? 0 : (chunk.tiles - 1u) * T + chunk.rows;
}

}  // namespace m3vit

#endif
