// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
#include "record.h"

namespace m3vit {
namespace trace {

namespace {

constexpr uint32_t UNKNOWN_DEPTH = 4;

}  // namespace

Recorder &recorder() {
    static Recorder the_one;
    return the_one;
}

uint32_t Process::number(const std::vector<Deed> &deeds) {
    if (!patterns.empty() && deeds == latest) return latest_number;
    const auto found = numbers.find(deeds);
    uint32_t which;
    if (found != numbers.end()) {
        which = found->second;
    } else {
        which = static_cast<uint32_t>(patterns.size());
        Pattern pattern;
        for (const Deed one : deeds) {
            (action_of(one) < FIRST_LATE ? pattern.early : pattern.late).push_back(one);
        }
        patterns.push_back(pattern);
        numbers.emplace(deeds, which);
    }
    latest = deeds;
    latest_number = which;
    return which;
}

void Recorder::begin() {
    processes.clear();
    channels.clear();
    inner_.clear();
    pingpongs_.clear();
    deeds_.clear();
    now_ = outer_ = nullptr;
    entries_ = 0;
    is_iterating_ = false;
}

void Recorder::process(const char *name) {
    processes.emplace_back(name);
    now_ = outer_ = &processes.back();
    inner_.clear();
    pingpongs_.clear();
}

void Recorder::inner_process(const char *name) {
    Process *&known = inner_[name];
    if (known == nullptr) {
        processes.emplace_back(outer_->name + "." + name);
        known = &processes.back();
    }
    now_ = known;
}

void Recorder::finish_inner() { now_ = outer_; }

uint32_t Recorder::channel(const char *name, uint32_t depth) {
    channels.push_back(Channel{name, depth});
    return static_cast<uint32_t>(channels.size() - 1);
}

uint32_t Recorder::pingpong(const char *name) {
    const auto found = pingpongs_.find(name);
    if (found != pingpongs_.end()) return found->second;
    const std::string full = outer_->name + "." + name;
    return pingpongs_[name] = channel(full.c_str(), 2);
}

void Recorder::append(Kind kind, uint32_t what) {
    std::vector<Entry> &entries = now_->entries;
    const bool counts = kind == Kind::ITERATION || kind == Kind::STATEMENT;
    if (counts && !entries.empty() && entries.back().kind == kind && entries.back().what == what) {
        ++entries.back().count;
        return;
    }
    if (++entries_ > limit) throw TooLong();
    entries.push_back(Entry{kind, what, 1});
}

void Recorder::enter(uint32_t loop, uint32_t interval, bool is_flushed) {
    if (now_ == nullptr) return;
    if (loop >= loops.size()) loops.resize(loop + 1, Loop{1, UNKNOWN_DEPTH, false});
    const uint32_t known = loop < depths.size() ? depths[loop] : 0;
    const uint32_t stages = known & ~(FLUSHED | STALLED);
    const bool is_free = ((known & FLUSHED) != 0 || is_flushed) && (known & STALLED) == 0;
    loops[loop] = Loop{interval, stages != 0 ? stages : UNKNOWN_DEPTH, is_free};
    append(Kind::LOOP, loop);
}

void Recorder::begin_iteration() {
    is_iterating_ = true;
    deeds_.clear();
}

void Recorder::end_iteration() {
    is_iterating_ = false;
    if (now_ != nullptr) append(Kind::ITERATION, now_->number(deeds_));
}

void Recorder::act(Action action, uint32_t channel) {
    if (now_ == nullptr) return;
    if (is_iterating_) {
        deeds_.push_back(deed(action, channel));
        return;
    }
    const std::vector<Deed> one(1, deed(action, channel));
    append(Kind::STATEMENT, now_->number(one));
}

void Recorder::request(Action action, uint32_t channel, uint64_t beat, uint32_t beats) {
    if (now_ == nullptr) return;
    now_->requests.push_back(Request{beat, beats});
    act(action, channel);
}

}  // namespace trace
}  // namespace m3vit
