# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""What goes wrong, and that the device is idle and usable afterwards.

Every test ends with `works`: a correct result, and no allocation left behind
(the device fixture counts them).
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pynq
import pytest

from m3vit_pynq import locate
from m3vit_pynq.abi import isa
from m3vit_pynq.abi.boards import get_board
from m3vit_pynq.abi.registers import Command
from m3vit_pynq.emulator.device import EmulatedDevice
from m3vit_pynq.errors import (
    AcceleratorError,
    AcceleratorTimeout,
    BitstreamError,
    CapacityError,
    DeviceBufferError,
    DeviceMemoryError,
    FrameError,
    M3ViTError,
    PackageError,
)
from m3vit_pynq.overlay import M3ViTOverlay
from m3vit_pynq.package import Package


@pytest.fixture
def works(image, micro, expected):
    def check(overlay) -> None:
        result = overlay.run(image, task="depth")
        np.testing.assert_array_equal(result.data, expected(image, overlay.package, "depth"))
        assert not overlay.driver.busy

    return check


def test_no_bitstream_on_a_board(tmp_path, monkeypatch, pattern_kernel):
    class Board(EmulatedDevice):
        """Not an emulated one, as far as the overlay can see."""

    monkeypatch.setattr("m3vit_pynq.overlay.EmulatedDevice", type("Other", (), {}))
    device = EmulatedDevice("zcu104", kernel=pattern_kernel)
    with pytest.raises(BitstreamError, match=r"make -C overlays/kv260.*M3VIT_EMULATE=1"):
        M3ViTOverlay(board="kv260", device=device)
    missing = tmp_path / "other.bit"
    with pytest.raises(BitstreamError, match=r"other.bit does not exist"):
        M3ViTOverlay(board="kv260", device=device, bitfile=missing)
    missing.write_bytes(b"bits")
    with pytest.raises(BitstreamError, match=r"other.hwh is missing"):
        M3ViTOverlay(board="kv260", device=device, bitfile=missing)


def test_a_bitstream_file_of_ones_own(device, micro, tmp_path, works):
    (tmp_path / "m3vit.bit").write_bytes(b"bits")
    handoff = locate.emulated_bitfile(device.board).read_text()
    (tmp_path / "m3vit.hwh").write_text(handoff)
    with M3ViTOverlay(micro, device=device, bitfile=tmp_path / "m3vit.bit") as overlay:
        works(overlay)


def test_a_damaged_hwh(device, tmp_path):
    (tmp_path / "m3vit.bit").write_bytes(b"bits")
    (tmp_path / "m3vit.hwh").write_text("<EDKSYSTEM>")
    with pytest.raises(BitstreamError, match="cannot be loaded"):
        M3ViTOverlay(device=device, bitfile=tmp_path / "m3vit.bit")


def test_an_overlay_without_the_accelerator(device, tmp_path):
    (tmp_path / "m3vit.bit").write_bytes(b"bits")
    handoff = locate.emulated_bitfile(device.board).read_text()
    foreign = handoff.replace("m3vit-pynq:hls:m3vit_accel:1.0", "xilinx.com:hls:fir:1.0")
    (tmp_path / "m3vit.hwh").write_text(foreign)
    with pytest.raises(BitstreamError, match="has no IP m3vit-pynq:hls:m3vit_accel"):
        M3ViTOverlay(device=device, bitfile=tmp_path / "m3vit.bit")


@pytest.mark.parametrize(
    ("outputs", "message"),
    [({"id_magic": 0}, "not m3vit_accel"), ({"id_abi": 9}, "ABI version 9")],
)
def test_another_bitstream(device, micro, works, outputs, message):
    device.faults.outputs = outputs
    with pytest.raises(BitstreamError, match=message):
        M3ViTOverlay(micro, device=device)
    device.faults.outputs = {}
    with M3ViTOverlay(micro, device=device) as overlay:
        works(overlay)


def test_a_bitstream_that_does_not_answer(device, micro, works, monkeypatch):
    monkeypatch.setattr("m3vit_pynq.driver.IDENTIFY_TIMEOUT", 0.05)
    device.faults.stall = {Command.IDENTIFY}
    with pytest.raises(BitstreamError, match="does not answer IDENTIFY"):
        M3ViTOverlay(micro, device=device)
    device.faults.stall = set()
    monkeypatch.undo()
    with M3ViTOverlay(micro, device=device) as overlay:
        works(overlay)


@pytest.mark.parametrize("interrupt", [True, False])
def test_a_stalled_accelerator(overlay, device, image, works, interrupt):
    overlay.driver.use_interrupt = interrupt
    overlay.driver.timeout = 0.1
    device.faults.stall = {Command.RUN}
    with pytest.raises(AcceleratorTimeout, match=r"CTRL = 0x1 \(start\).*250.0 MHz.*stalled"):
        overlay.run(image, task="depth")
    device.faults.stall = set()
    overlay.driver.timeout = 20.0
    works(overlay)  # the bitstream was loaded again


def test_interrupted_while_waiting_for_one_image(overlay, device, image, works, monkeypatch):
    """Ctrl-C, or the stop button of a notebook: the frame that runs is waited for."""
    original, calls = overlay.driver.wait, []

    def interrupted(timeout=None):
        calls.append(True)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return original(timeout)

    device.faults.delay = 0.05
    monkeypatch.setattr(overlay.driver, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        overlay.run(image)
    assert not overlay.driver.busy and not device.fabric.registers.busy
    device.faults.delay = 0.0
    works(overlay)


def test_a_thread_without_an_event_loop(device, micro, works, monkeypatch):
    """PYNQ's interrupt objects need a loop on a board; the driver's own wait does not."""

    def no_loop(pin):
        raise RuntimeError("There is no current event loop in thread 'Thread-1'.")

    monkeypatch.setattr("pynq.overlay.Interrupt", no_loop)
    with M3ViTOverlay(micro, device=device) as overlay:
        works(overlay)
        polls = overlay.driver.port.polls
        works(overlay)
        assert overlay.driver.port.polls == polls + 1  # by interrupt, not by polling


def test_an_interrupt_that_a_dead_program_left_behind(device, micro, works):
    with M3ViTOverlay(device=device) as overlay:
        overlay.driver.write(0x0C, 1)  # toggles the done status on
        overlay.driver.reloaded()
        assert overlay.driver.read(0x0C) == 1
        overlay.load(micro)
        works(overlay)
        assert overlay.driver.read(0x0C) == 0


def test_a_slow_accelerator_is_waited_for(overlay, device, works):
    device.faults.delay = 0.4  # longer than the interval at which interrupts are doubted
    works(overlay)
    assert overlay.driver.use_interrupt


def test_lost_interrupts_degrade_to_polling(overlay, device, works, caplog):
    device.faults.lost_interrupts = True
    device.faults.delay = 0.8
    works(overlay)
    device.faults.delay = 0.0
    works(overlay)
    assert not overlay.driver.use_interrupt
    assert "without an interrupt" in caplog.text


def test_an_error_code(overlay, device, image, works):
    device.faults.outputs = {"run_error": 9, "run_pc": 2}
    with pytest.raises(AcceleratorError, match="SHAPE at instruction 2") as caught:
        overlay.run(image, task="depth")
    opcode = isa.Program.decode(overlay.package.program).instructions[2].opcode.name
    assert opcode in str(caught.value)
    device.faults.outputs = {}
    works(overlay)


def test_an_unknown_error_code(overlay, device, image, works):
    device.faults.outputs = {"run_error": 999, "run_pc": 77777}
    with pytest.raises(AcceleratorError, match="code 999 at instruction 77777"):
        overlay.run(image, task="depth")
    device.faults.outputs = {}
    works(overlay)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda buffer: buffer + 1, "outside device memory"),
        (lambda buffer: (buffer + 1)[1:], "outside device memory"),
        (lambda buffer: buffer.copy(), "outside device memory"),
        (lambda buffer: np.zeros(8, np.uint8), "not a device buffer"),
        (lambda buffer: None, "not a device buffer"),
        (lambda buffer: buffer[:, ::2], "not contiguous"),
        (lambda buffer: buffer.view(np.int16), "dtype is int16"),
        (lambda buffer: buffer.reshape(-1)[8:], "not a multiple of 64"),
    ],
)
@pytest.mark.parametrize("which", ["frame", "output"])
def test_buffers_that_are_none(overlay, device, works, spoil, message, which):
    with pynq.allocate((16, 64), "uint8", target=device) as good:
        buffers = {"frame": good, "output": good, which: spoil(good)}
        bank = overlay._banks.find(overlay.package)
        runs = device.fabric.runs
        with pytest.raises(DeviceBufferError, match=f"{which}: .*{message}"):
            overlay.driver.start(0, buffers["frame"], buffers["output"], bank)
        assert device.fabric.runs == runs and not overlay.driver.busy
    del good, buffers
    works(overlay)


def test_freed_and_foreign_buffers(overlay, device, works, pattern_kernel):
    bank = overlay._banks.find(overlay.package)
    freed = pynq.allocate(64, "uint8", target=device)
    view = freed[:8]
    freed.freebuffer()
    with pytest.raises(DeviceBufferError, match="has been freed"):
        overlay.driver.start(0, view, view, bank)
    other = EmulatedDevice("zcu104", kernel=pattern_kernel)
    with (
        pynq.allocate(64, "uint8", target=other) as foreign,
        pytest.raises(DeviceBufferError, match="another device"),
    ):
        overlay.driver.start(0, foreign, foreign, bank)
    works(overlay)


def test_views_of_buffers_are_right(overlay, device):
    bank = overlay._banks.find(overlay.package)
    height, width = overlay.package.config.image_size
    with pynq.allocate((3, height, width, 3), "uint8", target=device) as frames:
        output = pynq.allocate(4096, "uint8", target=device)
        overlay.driver.start(0, frames[2], output, bank)
        overlay.driver.wait()
        offset = overlay.driver.port._shadow[0x8C] - frames.device_address
        assert offset == 2 * height * width * 3
        output.freebuffer()


def test_a_package_for_a_larger_board(micro, image, pattern_kernel, monkeypatch):
    monkeypatch.setattr("m3vit_pynq.overlay.default_name", lambda: None)
    small = dataclasses.replace(get_board("pynq-z2"), max_tokens=8)
    device = EmulatedDevice(small, kernel=pattern_kernel, memory_bytes=16 << 20)
    with pytest.raises(CapacityError, match=r"tokens = \d+, only 8 available"):
        M3ViTOverlay(micro, device=device)
    assert device.memory.live == 0
    with M3ViTOverlay(device=device) as overlay:
        with pytest.raises(CapacityError):
            overlay.load(micro)
        with pytest.raises(RuntimeError, match="no model is loaded"):
            overlay.run(image)
        assert device.memory.live == 0


class Doctored:
    """A package whose program was changed behind the checks, as a hostile file would."""

    def __init__(self, package: Package, program: bytes) -> None:
        self._package = package
        self.program = program

    def __getattr__(self, name: str):
        return getattr(self._package, name)

    def check_fits(self, board) -> None:
        pass


def doctor(package: Package, position: int, operand: str, value: int) -> Doctored:
    program = isa.Program.decode(package.program)
    instructions = list(program.instructions)
    old = instructions[position]
    instructions[position] = isa.Instruction(old.opcode, **{**old.operands, operand: value})
    changed = dataclasses.replace(program, instructions=tuple(instructions))
    return Doctored(package, changed.encode())


@pytest.mark.parametrize(
    ("opcode", "operand", "value", "error"),
    [
        (isa.Opcode.LOAD_PATCHES, "dst", 1 << 31, "WRITE_RANGE"),
        (isa.Opcode.LOAD_RESIDUAL, "dst", 0xFFFFFFF0, "WRITE_RANGE"),
        (isa.Opcode.LINEAR, "weights", 0x0FFFFFFF, "WEIGHTS_RANGE"),
        (isa.Opcode.LOAD_PATCHES, "height", 2040, "FRAME_RANGE"),
    ],
)
def test_a_program_with_addresses_out_of_range(
    micro, image, opcode, operand, value, error, machine_kernel
):
    """Refused by the hardware (here the specification), also where no compiler looked."""
    device = EmulatedDevice("zcu104", kernel=machine_kernel, memory_bytes=32 << 20)
    with M3ViTOverlay(micro, device=device) as overlay:
        reference = overlay.run(image, task="depth").data
        opcodes = [i.opcode for i in isa.Program.decode(micro.program).instructions]
        position = opcodes.index(opcode)
        hostile = doctor(micro, position, operand, value)
        overlay._banks.load(hostile)
        overlay.package = hostile
        with pytest.raises(AcceleratorError, match=f"{error} at instruction {position}"):
            overlay.run(image, task="segmentation")
        overlay.load(micro)
        np.testing.assert_array_equal(overlay.run(image, task="depth").data, reference)
    assert device.memory.live == 0


def test_a_truncated_package(overlay, micro, tmp_path, works):
    path = micro.save(tmp_path / "model.m3vit")
    path.write_bytes(path.read_bytes()[:-1000])
    before = overlay.device.memory.live
    with pytest.raises(PackageError):
        overlay.load(path)
    assert overlay.device.memory.live == before
    works(overlay)


def test_out_of_device_memory_while_loading(micro, image, pattern_kernel):
    device = EmulatedDevice("zcu104", kernel=pattern_kernel, memory_bytes=16 << 20)
    hog = pynq.allocate((16 << 20) - 8192, "uint8", target=device)
    with M3ViTOverlay(device=device) as overlay:
        with pytest.raises(DeviceMemoryError, match=r"weight bank A.*cma="):
            overlay.load(micro)
        assert device.memory.live == 1
        hog.freebuffer()
        overlay.load(micro)
        overlay.run(image)
    assert device.memory.live == 0


def test_out_of_device_memory_for_frames(overlay, device, image, works):
    free = device.memory.size - device.memory.used
    hog = pynq.allocate(free - 4096, "uint8", target=device)
    live = device.memory.live
    with pytest.raises(DeviceMemoryError, match=r"no device memory for frame A|output A"):
        overlay.run(image)
    assert device.memory.live == live
    hog.freebuffer()
    works(overlay)


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((4, 4, 3), np.float32), np.zeros((40, 40, 2), np.uint8),
        np.zeros((0, 40, 3), np.uint8), np.zeros(40, np.uint8), "photo.jpg", None,
    ],
    ids=["float", "two channels", "empty", "flat", "text", "none"],
)  # fmt: skip
def test_frames_that_are_no_images(overlay, works, bad):
    with pytest.raises(FrameError):
        overlay.run(bad)
    works(overlay)


@pytest.mark.parametrize("shape", [(33, 47), (33, 47, 1), (33, 47, 4)])
def test_grey_and_rgba_frames_are_converted(overlay, expected, shape):
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    rgb = image[..., :3] if shape[-1] == 4 else np.repeat(image.reshape(33, 47, 1), 3, axis=2)
    result = overlay.run(image, task="segmentation")
    rgb = np.ascontiguousarray(rgb)
    np.testing.assert_array_equal(result.data, expected(rgb, overlay.package, "segmentation"))


def test_an_unknown_task(overlay, image, works):
    with pytest.raises(ValueError, match=r"unknown task 'pose'.*segmentation, depth"):
        overlay.run(image, task="pose")
    works(overlay)


def test_a_closed_overlay(device, micro, image):
    overlay = M3ViTOverlay(micro, device=device)
    overlay.close()
    overlay.close()
    for call in (
        lambda: overlay.run(image), lambda: overlay.load(micro), overlay.recover,
        lambda: overlay.stream([image]),
    ):  # fmt: skip
        with pytest.raises(M3ViTError, match="closed"):
            call()


def test_the_emulation_itself_failing_is_not_taken_for_a_result(overlay, device, image, works):
    kernel = device.fabric.kernel

    def broken(arguments, memories):
        raise ZeroDivisionError("a defect")

    overlay.driver.timeout = 0.1
    device.fabric.kernel = broken
    with pytest.raises(AcceleratorTimeout, match=r"the emulation failed.*a defect"):
        overlay.run(image)
    assert device.fabric.kernel is not kernel
    overlay.driver.timeout = 20.0
    works(overlay)
