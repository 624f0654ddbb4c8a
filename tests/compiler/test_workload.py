# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Requirements and work of programs against what the model's shape says."""

from __future__ import annotations

import pytest
from shape_arithmetic import encoder_macs, head_macs

from m3vit_pynq.abi.boards import LINE
from m3vit_pynq.abi.footprint import CAPACITIES
from m3vit_pynq.abi.isa import Opcode
from m3vit_pynq.analysis.requirements import requirements_of
from m3vit_pynq.analysis.workload import Workload, task_workload, workload_of, written_bytes
from m3vit_pynq.compiler.build import made_up_package, random_frames
from m3vit_pynq.config import get_config
from m3vit_pynq.errors import AcceleratorError
from m3vit_pynq.reference.machine import Machine


@pytest.mark.parametrize("changes", [{}, {"moe_blocks": ()}, {"top_k": 5}])
def test_macs_are_those_of_the_model(changes):
    config = get_config("micro", **changes)
    program = made_up_package(config).decoded
    for index, task in enumerate(config.tasks):
        work = task_workload(program, index)
        assert work.macs == encoder_macs(config, config.top_k) + head_macs(config, task.outputs)
        assert work.frame_bytes == 32 * 48 * 3
        assert work.output_bytes == 16 * 24 * (2 if task.kind == "depth" else 1)
        moved = work.read_bytes + work.written_bytes
        outside = work.frame_bytes + work.output_bytes
        assert work.dram_bytes == work.weight_bytes + outside + moved


def test_parameters_of_a_dense_model_are_those_of_its_checkpoint():
    from m3vit_pynq.reference.checkpoint import expected_shapes

    config = get_config("micro", moe_blocks=())
    count = 0
    for name, shape in expected_shapes(config).items():
        if name.startswith(("backbone.", "decoders.depth")):
            size = 1
            for extent in shape:
                size *= extent
            count += size
    # The class token is added to the position embedding.
    program = made_up_package(config).decoded
    assert task_workload(program, 1).parameters == count - config.embed_dim


def test_experts_depend_on_their_queues():
    program = made_up_package(get_config("micro")).decoded
    for opcode, macs in ((Opcode.EXPERTS_UP, 64 * 96), (Opcode.EXPERTS_DOWN, 96 * 64)):
        experts = next(i for i in program.instructions if i.opcode == opcode)
        every = workload_of(experts)
        one = workload_of(experts, [50, 0, 0, 0, 0, 0, 0, 0])
        assert one.macs == every.macs == 50 * macs
        assert one.weight_bytes * 8 == every.weight_bytes
        assert (one.read_bytes, one.written_bytes) == (every.read_bytes, every.written_bytes)
        assert workload_of(experts, [0] * 8) == Workload(read_bytes=LINE * 25)  # records


def test_every_byte_of_weights_is_read_by_some_task():
    package = made_up_package(get_config("micro", moe_blocks=()))
    image = package.weights.nbytes
    work = [task_workload(package.decoded, task) for task in (0, 1)]
    encoder = sum(
        (
            workload_of(i)
            for name, i in zip(
                package.metadata["layers"], package.decoded.instructions, strict=True
            )
            if not name.startswith(("segmentation", "depth"))
        ),
        Workload(),
    )
    read = work[0].weight_bytes + work[1].weight_bytes - encoder.weight_bytes // 2
    # Tables lie in part 0 and leave their beats in the other parts empty.
    assert read < image < read * 1.35


def test_bytes_moved_in_the_workspace():
    """Whole lines, each once: rows are padded to 64 bytes."""
    program = made_up_package(get_config("micro")).decoded
    by_opcode = {}
    for i in program.instructions[: program.tasks[0].count]:
        by_opcode.setdefault(i.opcode, i)
    expected = {  # read, written
        Opcode.LOAD_PATCHES: (0, 24 * 192),
        Opcode.LOAD_RESIDUAL: (0, 25 * 128),
        Opcode.LAYERNORM: (25 * 128, 25 * 64),
        Opcode.LINEAR: (24 * 192 + 24 * 128, 24 * 128),  # the patch embedding adds
        Opcode.ATTENTION: (25 * 192, 25 * 64),
        Opcode.GATE: (25 * 64, 25 * 64),
        Opcode.EXPERTS_UP: (50 * 64 + 25 * 64, 50 * 128),
        Opcode.EXPERTS_DOWN: (50 * 128 + 25 * 64, 50 * 128),
        Opcode.UPSAMPLE2X: (4 * 6 * 64, 8 * 12 * 64),
        Opcode.CONV3X3: (8 * 12 * 64, 8 * 12 * 64),
        Opcode.OUTPUT_CLASSES: (8 * 12 * 64, 0),
        Opcode.END: (0, 0),
    }
    found = {
        opcode: (workload_of(i).read_bytes, workload_of(i).written_bytes)
        for opcode, i in by_opcode.items()
    }
    assert found == expected
    combining = next(i for i in program.instructions if i.slots)
    work = workload_of(combining)
    assert work.read_bytes == 3 * 25 * 128  # the stream and two slots
    assert work.written_bytes == 25 * 128 + 25 * 64
    assert written_bytes(combining) == work.written_bytes


@pytest.mark.parametrize("resource", CAPACITIES)
def test_requirements_are_exactly_what_the_machine_insists_on(resource):
    config = get_config("micro")
    package = made_up_package(config)
    needs = requirements_of(package.decoded)
    frame = random_frames(config, 1)[0]

    def run(capacity):
        machine = Machine(capacity)
        machine.load(package.program, package.weights)
        for task in (0, 1):
            machine.run(task, frame)

    run(needs)
    with pytest.raises(AcceleratorError):
        run({**needs, resource: needs[resource] - 1})


def test_device_memory():
    package = made_up_package(get_config("micro"))
    needs, layout = package.requirements, package.layout
    assert needs["bank_bytes"] == package.bank_bytes == LINE * layout.lines
    assert needs["workspace_bytes"] == LINE * layout.workspace_lines
    assert package.bank_bytes == package.bank_image().nbytes + needs["workspace_bytes"]
