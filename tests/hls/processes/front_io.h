// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// Requests and answers of the benches of the front half: lists of byte arrays on
// standard input and output; lists and arrays begin with their length, a uint32.
#ifndef M3VIT_FRONT_IO_H
#define M3VIT_FRONT_IO_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <string>
#include <vector>

using Blob = std::vector<uint8_t>;
using Blobs = std::vector<Blob>;

inline bool read_blobs(Blobs &blobs) {
    uint32_t count = 0;
    if (fread(&count, 4, 1, stdin) != 1) return false;
    blobs.assign(count, Blob());
    for (Blob &blob : blobs) {
        uint32_t size = 0;
        if (fread(&size, 4, 1, stdin) != 1) abort();
        blob.resize(size);
        if (size != 0 && fread(blob.data(), 1, size, stdin) != size) abort();
    }
    return true;
}

inline void write_blobs(const Blobs &blobs) {
    const uint32_t count = static_cast<uint32_t>(blobs.size());
    fwrite(&count, 4, 1, stdout);
    for (const Blob &blob : blobs) {
        const uint32_t size = static_cast<uint32_t>(blob.size());
        fwrite(&size, 4, 1, stdout);
        if (size != 0) fwrite(blob.data(), 1, size, stdout);
    }
    fflush(stdout);
}

template <typename T>
Blob bytes_of(const T &value) {
    Blob blob(sizeof value);
    memcpy(blob.data(), &value, sizeof value);
    return blob;
}

#endif
