# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Emulated boards for the tests, with kernels that are independent of the compiled HLS."""

from __future__ import annotations

import zlib

import cv2
import numpy as np
import pytest
from board_identification import identification

from m3vit_pynq.abi import isa
from m3vit_pynq.compiler import random_package
from m3vit_pynq.config import get_config
from m3vit_pynq.emulator.device import EmulatedDevice
from m3vit_pynq.errors import AcceleratorError
from m3vit_pynq.overlay import M3ViTOverlay
from m3vit_pynq.reference.machine import Machine


def pattern(frame: bytes, program: bytes, weights: bytes, task: int) -> np.ndarray:
    """Eight bytes that change with every byte that a run is given."""
    first = zlib.crc32(program, zlib.crc32(frame, task))
    second = zlib.crc32(weights, first)
    return np.frombuffer(first.to_bytes(4, "little") + second.to_bytes(4, "little"), np.uint8)


def sections(bank: memoryview) -> tuple[bytes, bytes, isa.BankLayout]:
    """Program and weights of a bank, as its header describes them."""
    words = np.frombuffer(bank, "<u4", 16).tolist()
    layout = isa.BankLayout(*words[4:8])
    first = 64 * layout.weights_line
    program = bytes(bank[: isa.INSTRUCTIONS_OFFSET + isa.INSTRUCTION_BYTES * words[3]])
    return program, bytes(bank[first : first + 4 * 64 * layout.part_lines]), layout


class PatternKernel:
    """Writes a checksum of everything it reads."""

    def __init__(self, board) -> None:
        self.board = board

    def __call__(self, arguments, memories):
        outputs = identification(self.board)
        if arguments["run_command"] == 1:
            banks = {arguments[n] for n in arguments if n.startswith("bank_") and n != "bank_bytes"}
            assert len(banks) == 1, "every master is given the same bank"
            program, weights, layout = sections(memories["bank_results"])
            assert len(memories["bank_program"]) == arguments["bank_bytes"] == 64 * layout.lines
            frame = bytes(memories["frame_pixels"])
            eight = pattern(frame, program, weights, arguments["run_task"])
            output = np.frombuffer(memories["result_pixels"], np.uint8)
            output[:] = np.resize(eight, output.size)
        return outputs


class MachineKernel:
    """The integer specification behind the registers."""

    def __init__(self, board) -> None:
        self.board = board

    def __call__(self, arguments, memories):
        outputs = identification(self.board)
        if arguments["run_command"] == 1:
            machine = Machine(capacity=self.board)
            bank = np.frombuffer(memories["bank_program"], np.uint8)
            machine.attach(bank, sections(memories["bank_program"])[2])
            height, width = np.frombuffer(bank, "<u4", 2, 32)
            frame = np.frombuffer(memories["frame_pixels"], np.uint8).reshape(height, width, 3)
            result = np.frombuffer(memories["result_pixels"], np.uint8)
            try:
                machine.run(arguments["run_task"], frame, result.size)
            except AcceleratorError as error:
                outputs["run_error"], outputs["run_pc"] = error.code, error.pc
            else:
                result[:] = machine.result
        return outputs


@pytest.fixture(scope="session")
def micro():
    """A package of random weights."""
    return random_package(get_config("micro"), seed=1)


@pytest.fixture(scope="session")
def others():
    """Two more packages of the same shape."""
    return random_package(get_config("micro"), seed=2), random_package(get_config("micro"), seed=3)


@pytest.fixture(scope="session")
def larger():
    """A package with another frame size."""
    return random_package(get_config("micro", image_size=(48, 64)), seed=4)


@pytest.fixture
def device():
    """An emulated board with the checksum kernel; checks that all memory came back."""
    device = EmulatedDevice("zcu104", kernel=PatternKernel, memory_bytes=64 << 20)
    yield device
    device.stop()
    assert device.memory.live == 0, "buffers were not returned"


@pytest.fixture
def overlay(device, micro):
    with M3ViTOverlay(micro, device=device) as overlay:
        overlay.driver.timeout = 20.0
        yield overlay


@pytest.fixture
def specification_overlay(micro):
    """An overlay whose kernel is the numpy machine."""
    device = EmulatedDevice("zcu104", kernel=MachineKernel, memory_bytes=64 << 20)
    with M3ViTOverlay(micro, device=device) as overlay:
        yield overlay
    assert device.memory.live == 0


@pytest.fixture
def image():
    """A photograph-like picture of an odd size."""
    noise = np.random.default_rng(5).integers(0, 256, (23, 31, 3), dtype=np.uint8)
    return cv2.resize(noise, (173, 91), interpolation=cv2.INTER_CUBIC)


@pytest.fixture
def images():
    """A function that makes `count` different pictures."""

    def make(count: int, shape=(40, 60, 3), seed: int = 0) -> list[np.ndarray]:
        rng = np.random.default_rng(seed)
        return [rng.integers(0, 256, shape, dtype=np.uint8) for _ in range(count)]

    return make


@pytest.fixture
def expected():
    """What `PatternKernel` must give for an RGB image, computed from host memory alone."""

    def compute(image, package, task: str) -> np.ndarray:
        height, width = package.config.image_size
        if image.shape[:2] != (height, width):
            shrinks = image.shape[0] > height or image.shape[1] > width
            method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
            image = cv2.resize(image, (width, height), interpolation=method)
        index = package.task_names.index(task)
        eight = pattern(image.tobytes(), package.program, package.weights.tobytes(), index)
        dtype = np.uint8 if package.config.tasks[index].kind == "segmentation" else np.dtype("<u2")
        count = isa.Program.decode(package.program).tasks[index].output_bytes
        raw = np.resize(eight, count)
        grid = package.config.grid
        factor = 2 ** (len(package.config.head.channels) - 1) * package.config.head.output_upsample
        return raw.view(dtype).reshape(grid[0] * factor, grid[1] * factor)

    return compute


@pytest.fixture
def pattern_kernel():
    return PatternKernel


@pytest.fixture
def machine_kernel():
    return MachineKernel
