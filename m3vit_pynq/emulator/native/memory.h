// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
#ifndef M3VIT_FAST_MEMORY_H
#define M3VIT_FAST_MEMORY_H

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

namespace fast {

// Memory at a multiple of 64 bytes that only grows; what it held is lost then.
class Block {
public:
    Block() = default;
    ~Block() { std::free(data_); }
    Block(const Block &) = delete;
    Block &operator=(const Block &) = delete;

    // At least `bytes`, zero when new; std::bad_alloc if there is no memory.
    uint8_t *reserve(size_t bytes) {
        if (bytes > size_) {
            std::free(data_);
            size_ = 0;
            const size_t rounded = (bytes + 4095) / 4096 * 4096;
            data_ = static_cast<uint8_t *>(std::aligned_alloc(4096, rounded));
            if (!data_) throw std::bad_alloc();
            std::memset(data_, 0, rounded);
            size_ = rounded;
        }
        return data_;
    }

    uint8_t *data() const { return data_; }
    size_t size() const { return size_; }

private:
    uint8_t *data_ = nullptr;
    size_t size_ = 0;
};

}  // namespace fast

#endif
