// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// Runs one instruction through the matrix pass.
//
// Request: the instruction, part_lines (uint32), the bank. Answer: the bank, MatrixJob.
// The bank has memory of its own, so that a sanitizer notices what leaves it.
#include "matrix_pass.h"
#include "front_io.h"

using namespace m3vit;

int main() {
    Blobs blobs;
    while (read_blobs(blobs)) {
        uint32_t words[INSTRUCTION_WORDS];
        uint32_t part_lines = 0;
        memcpy(words, blobs[0].data(), sizeof words);
        memcpy(&part_lines, blobs[1].data(), 4);
        const MatrixJob job = make_matrix_job(decode_instruction(words), part_lines);
        std::vector<PortBeat> bank(blobs[2].size() / PORT_BYTES);
        memcpy(bank.data(), blobs[2].data(), blobs[2].size());
        PortBeat *port = bank.data();
        matrix_pass(job, port, port, port, port, port, port, port, port);
        memcpy(blobs[2].data(), bank.data(), blobs[2].size());
        write_blobs({blobs[2], bytes_of(job)});
    }
    return 0;
}
