# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Lines of the workspace: tensors that live at the same time lie apart."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from m3vit_pynq.compiler.allocate import Tensor, allocate


@st.composite
def uses(draw):
    """Instructions that touch random tensors."""
    tensors = [
        Tensor(f"t{i}", draw(st.integers(1, 9)), draw(st.integers(1, 4)))
        for i in range(draw(st.integers(1, 8)))
    ]
    count = draw(st.integers(1, 12))
    return [draw(st.lists(st.sampled_from(tensors), max_size=3)) for _ in range(count)]


@settings(max_examples=60, deadline=None)
@given(uses())
def test_live_tensors_never_share_a_line(instructions):
    first_line = allocate(instructions)
    tensors = {id(t): t for tensors in instructions for t in tensors}
    assert set(first_line) == set(tensors)
    # Independent of lifetimes as the allocator computes them: replay, line by line.
    owner: dict[int, int] = {}
    last_use = {}
    for index, touched in enumerate(instructions):
        for tensor in touched:
            last_use[id(tensor)] = index
    started = set()
    for index, touched in enumerate(instructions):
        for tensor in touched:
            lines = range(first_line[id(tensor)], first_line[id(tensor)] + tensor.lines)
            for line in lines:
                before = owner.get(line)
                if id(tensor) in started:
                    assert before == id(tensor), "somebody overwrote a live tensor"
                else:
                    assert before is None or last_use[before] < index, "a live tensor is lost"
                owner[line] = id(tensor)
            started.add(id(tensor))


def test_a_chain_reuses_memory():
    chain = [Tensor(f"t{i}", 10, 1) for i in range(6)]
    first_line = allocate(list(itertools.pairwise(chain)))
    assert max(first_line[id(t)] + t.lines for t in chain) == 20
