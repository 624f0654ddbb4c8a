// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// A word of memory that knows in which iteration it was written and read last. It stands
// in copies of the sources where a pragma says that iterations do not depend on a memory.
#ifndef M3VIT_WATCHED_H
#define M3VIT_WATCHED_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

namespace watched {

// Iterations since the loop of the memory began; PIPELINE pragmas count it up.
struct Clock {
    static int64_t &now() {
        static int64_t iteration = 0;
        return iteration;
    }
};

// A write must be M3VIT_SETTLED iterations old before it is read; a word that was read may
// be written from the next iteration on.
template <typename Item>
class Word {
public:
    Word() : item_(), written_(-1000000), read_(-1000000) {}
    Word &operator=(const Item &item) {
        if (Clock::now() <= read_) fail("written in the iteration that reads it");
        item_ = item;
        written_ = Clock::now();
        return *this;
    }
    operator Item() const {
        if (Clock::now() - written_ < M3VIT_SETTLED) fail("read too soon after it was written");
        read_ = Clock::now();
        return item_;
    }

private:
    static void fail(const char *what) {
        fprintf(stderr, "a word is %s\n", what);
        abort();
    }
    Item item_;
    int64_t written_;
    mutable int64_t read_;
};

}  // namespace watched

#endif
