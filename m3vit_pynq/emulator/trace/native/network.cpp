// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
#include "network.h"

#include <algorithm>

namespace m3vit {
namespace trace {

namespace {

const std::vector<Deed> NO_DEEDS;

bool is_port(Action action) {
    return action == PORT_READ || action == REQUEST_READ || action == REQUEST_WRITE ||
           action == RESPONSE || action == PORT_WRITE;
}

}  // namespace

Runner::Runner(Network &network, const Process &process) : network_(network), process_(process) {}

Time Runner::stalled(Action action, uint32_t channel) const {
    const size_t place = size_t(channel) * ACTIONS + action;
    return place < stalls_.size() ? stalls_[place] : 0;
}

std::string Runner::waits_for() const { return network_.describe(blocked_); }

// To the next iteration that has something to do.
void Runner::seek(Cursor &cursor, bool early) const {
    while (cursor.entry < loop_end_) {
        const Entry &entry = process_.entries[cursor.entry];
        const Pattern &pattern = process_.patterns[entry.what];
        if (!(early ? pattern.early : pattern.late).empty()) return;
        cursor.iteration += entry.count - cursor.in_entry;
        cursor.in_entry = 0;
        ++cursor.entry;
    }
}

void Runner::pass(Cursor &cursor) const {
    ++cursor.iteration;
    if (++cursor.in_entry == process_.entries[cursor.entry].count) {
        cursor.in_entry = 0;
        ++cursor.entry;
    }
}

// What comes next, and when if nothing holds it up; false at the end of the process.
bool Runner::next_event() {
    for (;;) {
        if (in_loop_) {
            seek(early_, true);
            seek(late_, false);
            const bool has_early = early_.entry < loop_end_;
            const bool has_late = late_.entry < loop_end_;
            const uint64_t early = early_.iteration * interval_;
            const uint64_t late = late_.iteration * interval_ + depth_ - 1;
            if (has_early || has_late) {
                const bool is_early = has_early && (!has_late || early <= late);
                const bool is_late = has_late && (!has_early || late <= early);
                event_tick_ = is_early ? early : late;
                now_early_ = is_early
                                 ? &process_.patterns[process_.entries[early_.entry].what].early
                                 : &NO_DEEDS;
                now_late_ = is_late ? &process_.patterns[process_.entries[late_.entry].what].late
                                    : &NO_DEEDS;
                wake_ = now_ + (event_tick_ - at_);
                return true;
            }
            // early_ and late_ stand behind the last iteration.
            const uint64_t count = early_.iteration;
            const uint64_t ticks = count == 0 ? 0 : (count - 1) * interval_ + depth_;
            now_ += ticks > at_ ? ticks - at_ : 0;
            in_loop_ = false;
            entry_ = loop_end_;
        }
        if (entry_ == process_.entries.size()) return false;
        const Entry &entry = process_.entries[entry_];
        if (entry.kind == Kind::LOOP) {
            open_loop(network_.recorder().loops[entry.what]);
            if (is_flushed_) return true;
        } else {
            const Pattern &pattern = process_.patterns[entry.what];
            now_early_ = &pattern.early;
            now_late_ = &pattern.late;
            wake_ = now_ + 1;
            return true;
        }
    }
}

void Runner::open_loop(const Loop &loop) {
    interval_ = loop.interval;
    depth_ = loop.depth;
    loop_end_ = entry_ + 1;
    while (loop_end_ < process_.entries.size() &&
           process_.entries[loop_end_].kind == Kind::ITERATION) {
        ++loop_end_;
    }
    early_ = late_ = Cursor{entry_ + 1, 0, 0};
    at_ = 0;
    now_ += 1;  // its first tick; an empty loop takes one too
    in_loop_ = true;
    is_flushed_ = loop.is_flushed && loop_end_ > entry_ + 1;
    if (!is_flushed_) return;
    flight_ = (depth_ + interval_ - 1) / interval_;
    issue_times_.assign(flight_, 0);
    retire_times_.assign(flight_, 0);
    held_up_ = NOTHING;
}

const Request *Runner::request_of(Deed deed) {
    const Action action = action_of(deed);
    if (action != REQUEST_READ && action != REQUEST_WRITE) return nullptr;
    return &process_.requests[next_request_++];
}

void Runner::note_call(Deed deed, Time time) {
    const Action action = action_of(deed);
    if (action == RESERVE || action == TAKE) {
        if (!in_call_) calls_.push_back(Call{time, time, 0});
        calls_.back().start = time;
        in_call_ = true;
    } else if (action == FILLED || action == DROP) {
        calls_.back().end = time;
        in_call_ = false;
    } else if (action == WRITE && in_call_) {
        ++calls_.back().writes;
    }
}

void Runner::stall(Time time, Time due, Deed deed) {
    const size_t place = size_t(channel_of(deed)) * ACTIONS + action_of(deed);
    if (place >= stalls_.size()) stalls_.resize(place + 1, 0);
    stalls_[place] += time - due;
    stalled_ += time - due;
}

// When all of some deeds can be done, NEVER if one of them is not known to be.
Time Runner::when(const std::vector<Deed> &deeds, Time due, Deed &last) {
    Time time = due;
    for (const Deed one : deeds) {
        const Time ready = network_.ready(one);
        if (ready == NEVER) {
            blocked_ = one;
            return NEVER;
        }
        if (ready > time) {
            time = ready;
            last = one;
        }
    }
    return time;
}

void Runner::commit(const std::vector<Deed> &deeds, Time time) {
    for (const Deed one : deeds) {
        network_.act(one, time, request_of(one));
        note_call(one, time);
    }
}

// Does what is due if all of it can be done.
bool Runner::events(Time due) {
    Deed last = NOTHING;
    Time time = when(*now_early_, due, last);
    if (time == NEVER) return false;
    time = when(*now_late_, time, last);
    if (time == NEVER) return false;
    blocked_ = NOTHING;
    if (last != NOTHING) stall(time, due, last);
    commit(*now_early_, time);
    commit(*now_late_, time);
    now_ = time;
    return true;
}

// The next iteration of a flushed loop enters the pipeline.
bool Runner::issue(Time horizon) {
    if (early_.entry == loop_end_ || early_.iteration - late_.iteration == flight_) return false;
    const uint64_t place = early_.iteration % flight_;
    const Time due = early_.iteration == 0 ? now_ : issued_ + interval_;
    Time free = due;
    if (early_.iteration >= flight_) free = std::max(due, retire_times_[place] + 1);
    if (free >= horizon) {
        is_paused_ = true;
        return false;
    }
    Deed last = NOTHING;
    const std::vector<Deed> &deeds = process_.patterns[process_.entries[early_.entry].what].early;
    const Time time = when(deeds, free, last);
    if (time == NEVER) return false;
    if (free > due && held_up_ != NOTHING) stall(free, due, held_up_);
    if (last != NOTHING) stall(time, free, last);
    commit(deeds, time);
    issue_times_[place] = issued_ = time;
    pass(early_);
    return true;
}

// The oldest iteration in flight leaves it.
bool Runner::retire(Time horizon) {
    if (late_.iteration == early_.iteration) return false;
    const uint64_t place = late_.iteration % flight_;
    Time due = issue_times_[place] + depth_ - 1;
    if (late_.iteration != 0) due = std::max(due, retired_ + 1);
    if (due >= horizon) {
        is_paused_ = true;
        return false;
    }
    Deed last = NOTHING;
    const std::vector<Deed> &deeds = process_.patterns[process_.entries[late_.entry].what].late;
    const Time time = when(deeds, due, last);
    if (time == NEVER) return false;
    if (last != NOTHING) held_up_ = last;
    commit(deeds, time);
    retire_times_[place] = retired_ = time;
    pass(late_);
    return true;
}

bool Runner::run_flushed(Time horizon) {
    bool any = false;
    is_paused_ = false;
    for (bool again = true; again;) {
        again = false;
        while (issue(horizon)) again = true;
        while (retire(horizon)) again = true;
        any = any || again;
    }
    if (late_.entry == loop_end_) {
        now_ = retired_ + 1;
        in_loop_ = is_flushed_ = has_event_ = false;
        blocked_ = NOTHING;
        entry_ = loop_end_;
        early_.in_entry = 0;
        return true;
    }
    if (is_paused_) blocked_ = NOTHING;
    return any;
}

bool Runner::run(Time horizon) {
    bool any = false;
    while (!done_) {
        if (!has_event_ && !next_event()) {
            done_ = true;
            return true;
        }
        has_event_ = true;
        if (in_loop_ && is_flushed_) {
            if (!run_flushed(horizon)) return any;
            any = true;
            continue;
        }
        if (wake_ >= horizon || !events(wake_)) return any;
        has_event_ = false;
        any = true;
        if (in_loop_) {
            at_ = event_tick_;
            if (now_early_ != &NO_DEEDS) pass(early_);
            if (now_late_ != &NO_DEEDS) pass(late_);
        } else if (++early_.in_entry == process_.entries[entry_].count) {
            early_.in_entry = 0;
            ++entry_;
        }
    }
    return any;
}

Network::Network(const Recorder &recorder, const MemoryShape &shape)
    : recorder_(recorder), memory_(shape) {
    for (const Channel &channel : recorder.channels) fifos_.emplace_back(channel.depth);
    for (const Process &process : recorder.processes) runners_.emplace_back(*this, process);
}

Time Network::ready(Deed deed) const {
    const Action action = action_of(deed);
    return is_port(action) ? memory_.adapter(channel_of(deed)).ready(action)
                           : fifos_[channel_of(deed)].ready(action);
}

void Network::act(Deed deed, Time time, const Request *request) {
    const Action action = action_of(deed);
    if (is_port(action)) {
        memory_.adapter(channel_of(deed)).act(action, time, request);
    } else {
        fifos_[channel_of(deed)].act(action, time);
    }
}

std::string Network::describe(Deed deed) const {
    static const char *const WHAT[ACTIONS] = {"for a word of ",
                                              "for a beat of master ",
                                              "to request a read of master ",
                                              "to request a write of master ",
                                              "for a response to master ",
                                              "for an empty half of ",
                                              "for a full half of ",
                                              "for room in ",
                                              "for room in master ",
                                              "",
                                              ""};
    const Action action = action_of(deed);
    const std::string name = is_port(action) ? std::to_string(channel_of(deed))
                                             : recorder_.channels[channel_of(deed)].name;
    return WHAT[action] + name;
}

std::string Network::leftover() const {
    std::string text;
    for (size_t i = 0; i < fifos_.size(); ++i) {
        if (fifos_[i].left() == 0) continue;
        text += (text.empty() ? "" : ", ") + recorder_.channels[i].name;
    }
    return text;
}

Time Network::run(std::string &problem) {
    problem.clear();
    for (Time horizon = WINDOW;; horizon += WINDOW) {
        bool moved = false;
        for (bool again = true; again;) {
            again = false;
            for (Runner &one : runners_) {
                if (!one.is_done()) again = one.run(horizon) || again;
            }
            moved = moved || again;
        }
        bool is_done = true;
        bool is_paused = false;
        for (const Runner &one : runners_) {
            is_done = is_done && one.is_done();
            is_paused = is_paused || (!one.is_done() && !one.is_blocked());
        }
        if (is_done) break;
        if (memory_.serve(horizon) || moved || is_paused || memory_.is_pending()) continue;
        for (const Runner &one : runners_) {
            if (one.is_done()) continue;
            problem +=
                (problem.empty() ? "" : "; ") + one.process().name + " waits " + one.waits_for();
        }
        return NEVER;
    }
    const std::string left = leftover();
    if (!left.empty()) problem = "words are left in " + left;
    Time end = 0;
    for (const Runner &one : runners_) end = std::max(end, one.end());
    return end;
}

}  // namespace trace
}  // namespace m3vit
