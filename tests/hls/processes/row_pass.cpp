// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// Bench of the whole row pass on a bank. Requests: instruction, bank, frame, result;
// answers: bank, result.
#include "../../../hls_src/row_pass.h"
#include "../../../hls_src/row_setup.h"
#include "front_io.h"

using namespace m3vit;

namespace {

std::vector<PortBeat> memory_of(const Blob &blob) {
    std::vector<PortBeat> beats(blob.size() / sizeof(PortBeat) + 1);
    if (!blob.empty()) memcpy(beats.data(), blob.data(), blob.size());
    return beats;
}

Blob blob_of(const std::vector<PortBeat> &beats, size_t size) {
    const uint8_t *bytes = reinterpret_cast<const uint8_t *>(beats.data());
    return Blob(bytes, bytes + size);
}

}  // namespace

int main() {
    Blobs in;
    while (read_blobs(in)) {
        uint32_t words[INSTRUCTION_WORDS];
        memcpy(words, in[0].data(), sizeof words);
        std::vector<PortBeat> bank = memory_of(in[1]);
        std::vector<PortBeat> frame = memory_of(in[2]);
        std::vector<PortBeat> result = memory_of(in[3]);
        const Port<PortBeat> port(bank.data());
        row_pass(make_row_job(decode_instruction(words)), port, port, port, port, port, port, port,
                 frame.data(), result.data());
        write_blobs({blob_of(bank, in[1].size()), blob_of(result, in[3].size())});
    }
    return 0;
}
