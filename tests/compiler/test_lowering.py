# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Lowering: every variant, every address, every board."""

from __future__ import annotations

import dataclasses

import numpy as np
import plain_model
import pytest
from compiled_model import compiled

from m3vit_pynq.abi import isa
from m3vit_pynq.abi.boards import BOARDS, LINE
from m3vit_pynq.abi.errors import ErrorCode
from m3vit_pynq.abi.footprint import footprint
from m3vit_pynq.abi.isa import Opcode, Program
from m3vit_pynq.compiler import disassemble, listing
from m3vit_pynq.compiler.build import made_up_package, package_model, random_frames
from m3vit_pynq.compiler.lower import draft, lower
from m3vit_pynq.compiler.lower_task import Plan
from m3vit_pynq.compiler.made_up import made_up_model
from m3vit_pynq.config import HeadConfig, TaskConfig, get_config, variants
from m3vit_pynq.errors import CapacityError
from m3vit_pynq.reference.machine import Machine
from m3vit_pynq.reference.refusals import first_refusal

MICRO = get_config("micro")


def outputs(lowered, config, seed=3):
    """Result of every task on one frame, and the residual stream it leaves."""
    frame = random_frames(config, 1, seed)[0]
    machine = Machine()
    rng = np.random.default_rng(seed)
    machine.load(lowered.program.encode(), lowered.weights)
    workspace = machine.bank[LINE * machine.layout.workspace_line :]
    workspace[:] = rng.integers(0, 256, workspace.size)  # nothing may rely on zeros
    results = []
    for task, entry in enumerate(lowered.program.tasks):
        first = lowered.program.instructions[entry.first]
        assert first.opcode == Opcode.LOAD_RESIDUAL
        taken = []

        def observe(pc, i, machine, first=first, taken=taken):
            if i.opcode == Opcode.LAYERNORM:
                place = (first.dst, first.rows, first.dst_stride, first.cols_out)
                taken.append(machine.read_residual(*place).copy())

        machine.observer = observe
        results += [machine.run(task, frame), taken[-1]]
    return results


def same(first, second):
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


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


# What programs compute


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"moe_blocks": ()},
        {"per_image": True},
        {"shared_hidden": 80},
        {"top_k": 8},
        {"router": "noisy", "expert_hidden": 128},
        {"embed_dim": 96, "heads": 3},
        {"embed_dim": 80, "heads": 5, "shared_hidden": 96},
        {"moe_blocks": (0, 1, 2, 3)},
        {"moe_blocks": (0, 2)},
        {"head": HeadConfig(taps=(0, 2, 3), channels=(80, 70, 24), output_upsample=1)},
        {"head": HeadConfig(taps=(2,), channels=(32, 24)), "moe_blocks": (2, 3)},
    ],
    ids=lambda changes: "-".join(changes) or "micro",
)
def test_a_program_computes_the_model(changes):
    config = get_config("micro", **changes)
    model = made_up_model(config)
    frame = random_frames(config, 1, 3)[0]
    results = outputs(lower(model), config)
    for task in range(len(config.tasks)):
        result, residual = plain_model.run(model, task, frame)
        assert np.array_equal(results[2 * task], result)
        assert np.array_equal(results[2 * task + 1], residual)


@pytest.mark.parametrize("options", [{"split_experts": True}, {"passes": 2}])
def test_a_quantised_model_is_lowered_with_its_options(options):
    """Two parts of an expert are two pairs of instructions, added by one LAYERNORM."""
    config = get_config("micro", top_k=8)
    compiled_model = compiled(config, **options)
    lowered = lower(compiled_model.model)
    frame = random_frames(config, 1, 3)[0]
    results = outputs(lowered, config)
    for task in (0, 1):
        result, residual = plain_model.run(compiled_model.model, task, frame)
        assert np.array_equal(results[2 * task], result)
        assert np.array_equal(results[2 * task + 1], residual)
    downs = [i for i in lowered.program.instructions if i.opcode == Opcode.EXPERTS_DOWN]
    parts = 2 if "split_experts" in options else 1
    assert [i.first_slot for i in downs[:parts]] == [0, 8][:parts]
    slots = [i.slots for i in lowered.program.instructions if i.opcode == Opcode.LAYERNORM]
    assert max(slots) == 8 * parts
    passes = {i.passes for i in lowered.program.instructions if i.opcode == Opcode.ATTENTION}
    assert passes == {options.get("passes", 1)}


# Programs


def legal(candidate):
    """Every task, on a board with any buffers."""
    program = candidate.program
    for task, entry in enumerate(program.tasks):
        assert first_refusal(program, task) == (ErrorCode.OK, entry.first + entry.count - 1)


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
        assert order.count(Opcode.EXPERTS_UP) == order.count(Opcode.EXPERTS_DOWN) == 1
        assert order.count(Opcode.GATE) == 1
        # two norms a block, one a tap
        assert order.count(Opcode.LAYERNORM) == 2 * 2 + 2


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("name", ["small", "tiny", "tiny-published", "tiny-cityscapes"])
def test_models_that_every_board_runs(drafts, name, board):
    candidate = drafts(name)
    assert candidate.overflow(BOARDS[board]) is None
    for task, entry in enumerate(candidate.program.tasks):
        code, pc = first_refusal(candidate.program, task, BOARDS[board])
        assert (code, pc) == (ErrorCode.OK, entry.first + entry.count - 1)


@pytest.mark.parametrize("board", BOARDS)
def test_base_at_480x640(drafts, board):
    candidate = drafts("base", image_size=(480, 640))
    error = candidate.overflow(BOARDS[board])
    if board != "pynq-z2":
        assert error is None
        return
    assert (error.resource, error.needed, error.available) == ("tokens", 1201, 768)
    assert "layer blocks.0.attn: needs tokens = 1201" in str(error)
    code, pc = first_refusal(candidate.program, 0, BOARDS[board])
    assert code == ErrorCode.CAPACITY
    assert candidate.layers[pc] == "blocks.0.attn"


@pytest.fixture(scope="module")
def drafts():
    """Programs without their images, made once."""
    known = {}

    def make(name, **changes):
        if name not in known:
            known[name] = draft(made_up_model(get_config(name, **changes)))
            legal(known[name])
        return known[name]

    return make


def test_disassembly_shows_what_footprints_say():
    package = made_up_package(MICRO)
    text = disassemble(package, "depth")
    assert "OUTPUT_DEPTH" in text
    assert "OUTPUT_CLASSES" not in text
    layout, entry = package.layout, package.decoded.tasks[1]
    for pc in range(entry.first, entry.first + entry.count):
        shown = next(s for s in text.splitlines() if s.lstrip().startswith(f"{pc} "))
        touched = footprint(package.decoded.instructions[pc])
        regions = touched.reads + touched.writes + touched.updates
        for region in regions:
            place = region.section.value
            if place == "workspace":
                place += f"+{region.base - layout.workspace_line}:+{region.stride}"
            assert place in shown
        for part in touched.weights:
            assert f"weights+{part.base - layout.weights_line}" in shown
    with pytest.raises(ValueError, match="segmentation, depth"):
        disassemble(package, "edges")


def test_encoder_weights_are_stored_once():
    one = dataclasses.replace(MICRO, tasks=MICRO.tasks[:1])
    both, single = lower(made_up_model(MICRO)), lower(made_up_model(one))
    addresses = {
        (name, i.weights)
        for name, i in zip(both.layers, both.program.instructions, strict=True)
        if name.startswith("blocks") and i.weights and ".gate." not in name
    }
    names = [name for name, _ in addresses]
    assert len(names) == len(set(names)), "one address a layer, whatever the task"
    second_task = both.weights.nbytes - single.weights.nbytes
    assert second_task < 0.25 * single.weights.nbytes


def test_weights_are_read_in_order_of_address():
    lowered = lower(made_up_model(MICRO))
    entry = lowered.program.tasks[0]
    body = lowered.program.instructions[: entry.count]
    readers = (Opcode.LINEAR, Opcode.EXPERTS_UP, Opcode.EXPERTS_DOWN, Opcode.CONV3X3)
    addresses = [i.weights for i in body if i.opcode in readers]
    assert addresses == sorted(addresses)


def test_the_workspace_is_what_the_program_touches():
    program = draft(made_up_model(MICRO)).program
    ends = [
        region.end
        for i in program.instructions
        for region in (lambda f: f.reads + f.writes + f.updates)(footprint(i))
        if region.section.value == "workspace"
    ]
    assert max(ends) == program.layout.lines


def test_blocks_behind_the_last_tap_are_left_out():
    """Nothing reads them, and their experts would leave slots that nobody adds."""
    config = get_config("micro", head=HeadConfig(taps=(1, 2), channels=(32,)))
    candidate = draft(made_up_model(config))
    legal(candidate)
    assert not any(name.startswith("blocks.3") for name in candidate.layers)


# Refusals


def test_a_board_with_short_map_rows_gets_narrow_logits():
    tasks = (TaskConfig("many", "segmentation", 64), TaskConfig("depth", "depth", 1))
    head = HeadConfig(taps=(3,), channels=(32,))
    model = made_up_model(get_config("micro", tasks=tasks, head=head))
    roomy = lower(model)
    board = dataclasses.replace(BOARDS["pynq-z2"], map_lines=6)  # six pixels of 64 bytes
    narrow = lower(model, board)
    for lowered, wide in ((roomy, 1), (narrow, 0)):
        program = lowered.program
        found = [i.wide for i in program.instructions if i.opcode == Opcode.OUTPUT_CLASSES]
        assert found == [wide]
    frame = random_frames(model.config, 1, 3)[0]
    result, _ = plain_model.run(model, 0, frame, wide=False)
    assert np.array_equal(outputs(narrow, model.config)[0], result)
    with pytest.raises(CapacityError, match=r"layer many\.output: needs map_lines = 6, only 5"):
        lower(model, dataclasses.replace(board, map_lines=5))


@pytest.mark.parametrize(
    ("resource", "attribute", "layer"),
    [
        ("half_lines", "half_lines", "patch_embed.proj"),
        ("tokens", "max_tokens", "blocks.0.attn"),
        ("map_lines", "map_lines", r"segmentation\.conv\.0"),
    ],
)
def test_refusal_names_layer_and_number(resource, attribute, layer):
    model = made_up_model(MICRO)
    board = dataclasses.replace(BOARDS["pynq-z2"], **{attribute: 20})
    with pytest.raises(CapacityError, match=f"micro on PYNQ-Z2, layer {layer}: needs") as caught:
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
        ({"embed_dim": 576, "heads": 9, "mlp_ratio": 8}, "bytes of a weight row"),
        ({"expert_hidden": 4160}, "bytes of a weight row"),
        ({"shared_hidden": 4097}, "bytes of a weight row"),
        ({"head": HeadConfig(taps=(3,), channels=(449, 32))}, "bytes of a weight row"),
        ({"head": HeadConfig(taps=(3,), channels=(32, 8193))}, "layer outputs"),
        ({"patch_size": 40, "image_size": (80, 80)}, "patch side"),
        (
            {"patch_size": 32, "image_size": (32, 352), "head": HeadConfig((3,), (32,), 1)},
            "bytes of a row of patches",
        ),
    ],
)
def test_architecture_limits(changes, resource):
    with pytest.raises(CapacityError) as caught:
        made_up_package(get_config("micro", **changes))
    assert caught.value.resource == resource


def test_a_row_that_is_too_wide_names_its_layer():
    with pytest.raises(CapacityError, match=r"micro, layer conv\.0 of a head: needs bytes of"):
        made_up_package(get_config("micro", head=HeadConfig(taps=(3,), channels=(512, 32))))


def test_too_many_instructions_are_refused(monkeypatch):
    monkeypatch.setattr(isa, "MAX_INSTRUCTIONS", 80)
    with pytest.raises(CapacityError, match="instructions = 86, only 80"):
        made_up_package(MICRO)


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
    results = outputs(lower(model), config)
    assert [r.shape for r in results[::2]] == [(16, 24)] * 3
    assert results[4].max() <= 1
    narrow = draft(model, Plan(wide_logits=False)).finish()
    classes = [i for i in narrow.program.instructions if i.opcode == Opcode.OUTPUT_CLASSES]
    assert [i.wide for i in classes] == [0, 0]
    package_model(model)
    assert len(outputs(narrow, config)) == 6
