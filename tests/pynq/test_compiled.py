# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The whole way: driver, registers, device memory and the engines of the emulated board."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from m3vit_pynq.abi import isa
from m3vit_pynq.emulator.device import EmulatedDevice
from m3vit_pynq.errors import AcceleratorError
from m3vit_pynq.overlay import M3ViTOverlay
from m3vit_pynq.reference.machine import Machine


@pytest.fixture(scope="module", params=[("zcu104", "fast"), ("zcu104", "hls"), ("pynq-z2", "hls")])
def compiled(request):
    """Both engines, and two boards of different parallelism; results must not depend on it."""
    board, engine = request.param
    device = EmulatedDevice(board, engine=engine, memory_bytes=32 << 20)
    yield device
    device.stop()
    assert device.memory.live == 0


@pytest.fixture
def reference(micro):
    """The specification's result for an image."""

    def compute(image, package, task: str) -> np.ndarray:
        height, width = package.config.image_size
        frame = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        machine = Machine()
        machine.load(package.program, package.weights)
        return machine.run(package.task_names.index(task), frame)

    return compute


def test_streams_are_bit_exact_across_tasks_and_packages(
    compiled, micro, others, images, reference
):
    frames = images(12, shape=(64, 96, 3))
    with M3ViTOverlay(micro, device=compiled) as overlay, overlay.stream(frames) as stream:
        stream.chunk = others[0].weights.size // 2
        seen = []
        for frame, result in stream:
            seen.append((frame, result, stream.package))
            if result.frame_index == 2:
                stream.task = "depth"
            if result.frame_index == 4:
                stream.package = others[0]
        assert stream.package is others[0]
    models = []
    for frame, result, _ in seen:
        exact = [
            index
            for index, package in enumerate((micro, others[0]))
            if np.array_equal(result.data, reference(frame, package, result.task))
        ]
        assert exact, f"frame {result.frame_index} is neither model's result"
        models.append(exact[0])
        assert result.cycles is None, "nothing counts them"
    assert models == sorted(models) and models[0] == 0 and models[-1] == 1
    assert [result.task for _, result, _ in seen] == ["segmentation"] * 4 + ["depth"] * 8
    assert stream.statistics.first_frame_after_switch_ratio is None


def test_one_image_for_all_tasks(compiled, micro, images, reference):
    image = images(1, shape=(64, 96, 3), seed=4)[0]
    with M3ViTOverlay(micro, device=compiled) as overlay:
        assert overlay.identification.board_name == compiled.board.name
        for task, result in overlay.run(image).items():
            np.testing.assert_array_equal(result.data, reference(image, micro, task))


def test_the_hardware_refuses_what_no_compiler_saw(compiled, micro, images, reference):
    image = images(1, shape=(64, 96, 3), seed=5)[0]
    with M3ViTOverlay(micro, device=compiled) as overlay:
        overlay._frames.fit(micro)
        overlay._frames[0].fill(image)
        bank = overlay._banks.find(micro)
        # The second instruction of the first task gets an opcode that does not exist.
        place = isa.INSTRUCTIONS_OFFSET + isa.INSTRUCTION_BYTES
        good, bank.buffer[place] = int(bank.buffer[place]), 0xEE
        with pytest.raises(AcceleratorError, match="BAD_OPCODE at instruction 1"):
            overlay.run(image, task="segmentation")
        bank.buffer[place] = good
        result = overlay.run(image, task="segmentation")
        np.testing.assert_array_equal(result.data, reference(image, micro, "segmentation"))


def test_two_boards_do_not_share_their_memories(micro, others, images, reference):
    image = images(1, shape=(64, 96, 3), seed=6)[0]
    devices = [EmulatedDevice("zcu104", memory_bytes=32 << 20) for _ in range(2)]
    with (
        M3ViTOverlay(micro, device=devices[0]) as first,
        M3ViTOverlay(others[0], device=devices[1]) as second,
    ):
        for overlay, package in ((first, micro), (second, others[0]), (first, micro)):
            data = overlay.run(image, task="depth").data
            np.testing.assert_array_equal(data, reference(image, package, "depth"))
