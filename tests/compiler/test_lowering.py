# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Lowering: every variant, every address, every plan."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m3vit_pynq.abi import isa
from m3vit_pynq.abi.boards import BOARDS, get_board
from m3vit_pynq.abi.isa import Opcode, Program
from m3vit_pynq.compiler import disassemble, listing
from m3vit_pynq.compiler.allocate import Tensor, allocate
from m3vit_pynq.compiler.build import made_up_package, package_model, random_frames
from m3vit_pynq.compiler.lower import Plan, draft, lower
from m3vit_pynq.compiler.made_up import made_up_model
from m3vit_pynq.config import HeadConfig, TaskConfig, get_config, variants
from m3vit_pynq.errors import CapacityError
from m3vit_pynq.reference.machine import Machine

MICRO = get_config("micro")


def outputs(lowered, config, seed=3):
    """Result of every task on one frame, and the residual stream it leaves."""
    frame = random_frames(config, 1, seed)[0]
    machine = Machine()
    rng = np.random.default_rng(seed)
    machine.act[:] = rng.integers(-128, 128, machine.act.shape)  # nothing may rely on zeros
    machine.load(lowered.program.encode(), lowered.weights)
    results = []
    for task in range(len(config.tasks)):
        results.append(machine.run(task, frame))
        results.append(machine.residual[: config.tokens * config.embed_dim].copy())
    return results


def same(first, second):
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


# Allocation


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


def test_sharing_lines_changes_no_result(monkeypatch):
    """The same program with a region for every tensor computes the same."""
    model = made_up_model(MICRO)
    shared = lower(model)

    def apart(instructions):
        lines, nextfree = {}, 0
        for tensor in (t for touched in instructions for t in touched):
            if id(tensor) not in lines:
                lines[id(tensor)] = nextfree
                nextfree += tensor.lines
        return lines

    monkeypatch.setattr(listing, "allocate", apart)
    separate = lower(model)
    assert same(outputs(shared, MICRO), outputs(separate, MICRO))


# Programs


@pytest.mark.parametrize("name", variants())
def test_every_variant_compiles(name):
    head = dataclasses.replace(get_config(name).head, taps=(0, 1))
    config = get_config(name, depth=2, moe_blocks=(1,), experts=4, top_k=2, head=head)
    package = made_up_package(config)
    program = Program.decode(package.program)
    assert program.encode() == package.program
    assert len(program.tasks) == 2
    text = disassemble(package)
    for index, (layer, instruction) in enumerate(
        zip(package.metadata["layers"], program.instructions, strict=True)
    ):
        shown = next(s for s in text.splitlines() if s.lstrip().startswith(f"{index} "))
        assert instruction.opcode.name in shown
        assert layer in shown
    for entry in program.tasks:
        body = program.instructions[entry.first : entry.first + entry.count]
        order = [i.opcode for i in body]
        assert order[:3] == [Opcode.LOAD_RESIDUAL, Opcode.LOAD_PATCHES, Opcode.LINEAR]
        assert order[-1] == Opcode.END
        assert order.count(Opcode.ATTENTION) == 2
        assert order.count(Opcode.EXPERTS) == order.count(Opcode.GATE) == 1
        # two norms a block, one a tap
        assert order.count(Opcode.LAYERNORM) == 2 * 2 + 2


def test_full_tiny_program_fits_the_small_board():
    package = made_up_package(get_config("tiny-cityscapes"))
    package.check_fits(get_board("pynq-z2"))


def test_disassembly_of_one_task_and_of_none():
    package = made_up_package(MICRO)
    text = disassemble(package, "depth")
    assert "OUTPUT_DEPTH" in text
    assert "OUTPUT_CLASSES" not in text
    with pytest.raises(ValueError, match="segmentation, depth"):
        disassemble(package, "edges")


def test_encoder_weights_are_stored_once():
    one = dataclasses.replace(MICRO, tasks=MICRO.tasks[:1])
    both, single = lower(made_up_model(MICRO)), lower(made_up_model(one))
    addresses = [
        {
            (name, i.weights)
            for name, i in zip(both.layers, both.program.instructions, strict=True)
            if name.startswith("blocks") and i.weights and ".gate." not in name
        }
        for _ in (0, 1)
    ]
    names = [name for name, _ in addresses[0]]
    assert len(names) == len(set(names)), "one address a layer, whatever the task"
    second_task = both.weights.nbytes - single.weights.nbytes
    assert second_task < 0.25 * single.weights.nbytes


def test_weights_are_read_in_order_of_address():
    lowered = lower(made_up_model(MICRO))
    entry = lowered.program.tasks[0]
    body = lowered.program.instructions[: entry.count]
    addresses = [i.weights for i in body if i.opcode in (Opcode.LINEAR, Opcode.EXPERTS)]
    assert addresses == sorted(addresses)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"moe_blocks": ()},
        {"per_image": True},
        {"shared_hidden": 80},
        {"top_k": 8},
        {"router": "noisy", "expert_hidden": 128},
    ],
)
def test_tiles_change_no_result(changes):
    config = get_config("micro", **changes)
    model = made_up_model(config)
    whole = draft(model, Plan(config.tokens)).finish()
    tiled = draft(model, Plan(7)).finish()
    assert len(tiled.layers) > len(whole.layers)
    assert same(outputs(whole, config), outputs(tiled, config))


def test_a_board_gets_tiles_when_it_must():
    config = get_config("micro")
    model = made_up_model(config)
    roomy = lower(model)
    board = dataclasses.replace(
        get_board("pynq-z2"), act_lines=192, queue_entries=30, score_elements=100
    )
    lowered = lower(model, board)
    gates = [i for i in lowered.program.instructions if i.opcode == Opcode.GATE]
    assert max(i.rows * i.top_k for i in gates) <= 30
    assert same(outputs(roomy, config), outputs(lowered, config))


@pytest.mark.parametrize("resource", ["act_lines", "residual_elements", "weight_tile_beats"])
def test_refusal_names_layer_and_number(resource):
    model = made_up_model(MICRO)
    board = dataclasses.replace(BOARDS["pynq-z2"], **{resource: 20})
    with pytest.raises(CapacityError, match=r"layer \S+: needs") as caught:
        lower(model, board)
    assert caught.value.resource == resource
    assert caught.value.available == 20
    assert caught.value.needed > 20


@pytest.mark.parametrize(
    ("changes", "resource"),
    [
        ({"experts": isa.MAX_EXPERTS + 1}, "experts"),
        ({"experts": 16, "top_k": isa.MAX_TOP_K + 1}, "top_k"),
        ({"embed_dim": 2048, "heads": 32}, "LAYERNORM channels"),
        ({"image_size": (1024, 1024)}, "tokens"),
    ],
)
def test_architecture_limits(changes, resource):
    with pytest.raises(CapacityError) as caught:
        made_up_package(get_config("micro", **changes))
    assert caught.value.resource == resource


def test_head_width_that_attention_cannot_do():
    with pytest.raises(ValueError, match="24 channels a head"):
        made_up_package(get_config("micro", embed_dim=48))


def test_heads_with_other_shapes():
    """One tap, no convolution, three tasks, more than 64 classes."""
    tasks = (
        TaskConfig("many", "segmentation", 70),
        TaskConfig("depth", "depth", 1),
        TaskConfig("few", "segmentation", 2),
    )
    config = get_config(
        "micro", tasks=tasks, head=HeadConfig(taps=(3,), channels=(40,), output_upsample=4)
    )
    model = made_up_model(config)
    wide = draft(model, Plan(config.tokens)).finish()
    results = outputs(wide, config)
    assert [r.shape for r in results[::2]] == [(16, 24)] * 3
    assert results[4].max() <= 1
    narrow = draft(model, Plan(config.tokens, wide_logits=False)).finish()
    classes = [i for i in narrow.program.instructions if i.opcode == Opcode.OUTPUT_CLASSES]
    assert [i.wide for i in classes] == [0, 0]
    package_model(model)
    assert len(outputs(narrow, config)) == 6
