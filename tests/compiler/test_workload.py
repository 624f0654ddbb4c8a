# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Requirements and work of programs against what the model's shape says."""

from __future__ import annotations

import pytest
from shape_arithmetic import encoder_macs, head_macs

from m3vit_pynq.abi.isa import Opcode
from m3vit_pynq.analysis.requirements import REQUIREMENTS, requirements_of
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
        assert work.dram_bytes == work.weight_bytes + work.frame_bytes + work.output_bytes


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
    experts = next(i for i in program.instructions if i.opcode == Opcode.EXPERTS)
    every = workload_of(experts)
    one = workload_of(experts, [50, 0, 0, 0, 0, 0, 0, 0])
    assert one.macs == every.macs == 50 * 2 * 64 * 96
    assert one.weight_bytes * 8 == every.weight_bytes
    assert workload_of(experts, [0] * 8) == Workload()


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


def test_written_bytes():
    program = made_up_package(get_config("micro")).decoded
    by_opcode = {}
    for i in program.instructions[: program.tasks[0].count]:
        by_opcode.setdefault(i.opcode, i)
    assert written_bytes(by_opcode[Opcode.LOAD_PATCHES]) == 32 * 48 * 3
    assert written_bytes(by_opcode[Opcode.ATTENTION]) == 25 * 64
    assert written_bytes(by_opcode[Opcode.UPSAMPLE2X]) == 8 * 12 * 32
    assert written_bytes(by_opcode[Opcode.CONV3X3]) == 8 * 12 * 24
    assert written_bytes(by_opcode[Opcode.GATE]) == 0


@pytest.mark.parametrize("resource", REQUIREMENTS)
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
