# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""`M3ViTOverlay`: choice of board, one image, recovery, two overlays, async."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import numpy as np
import pytest
from pynq.pl_server.device import Device

import m3vit_pynq
from m3vit_pynq import locate
from m3vit_pynq.abi.boards import BOARDS, get_board
from m3vit_pynq.emulator.device import EmulatedDevice
from m3vit_pynq.errors import BitstreamError
from m3vit_pynq.overlay import M3ViTOverlay
from m3vit_pynq.reference.machine import Machine


@pytest.mark.parametrize("board", sorted(BOARDS))
def test_every_board_loads_and_names_itself(board, pattern_kernel):
    device = EmulatedDevice(board, kernel=pattern_kernel, memory_bytes=1 << 20)
    with M3ViTOverlay(device=device) as overlay:
        assert overlay.emulated and overlay.board is get_board(board)
        assert overlay.identification.board_name == board
        assert overlay.identification.parallelism == (
            overlay.board.tokens_par, overlay.board.out_par, overlay.board.in_par,
        )  # fmt: skip
        assert overlay.clock_mhz <= overlay.board.clock_mhz


def test_a_bitstream_of_another_configuration_is_driven_with_its_own_capacities(
    device, micro, caplog
):
    device.faults.outputs = {"cap_half_lines": 4000}
    with M3ViTOverlay(micro, device=device) as overlay:
        assert overlay.identification.capacities["half_lines"] == 4000
        assert "its own capacities are used" in caplog.text


def test_the_results_are_those_of_the_specification(specification_overlay, micro, image):
    overlay = specification_overlay
    machine = Machine()
    machine.load(micro.program, micro.weights)
    results = overlay.run(image)
    assert list(results) == ["segmentation", "depth"]
    frame = np.array(overlay._frames[0].frame)
    for index, result in enumerate(results.values()):
        np.testing.assert_array_equal(result.data, machine.run(index, frame))
    depth = results["depth"]
    np.testing.assert_allclose(depth.metres, depth.data / 1000, rtol=1e-6)
    with pytest.raises(ValueError, match="class ids, not distances"):
        _ = results["segmentation"].metres
    for result in results.values():
        assert result.colour().shape == (*result.data.shape, 3)
        assert result.colour((30, 50)).shape == (30, 50, 3)
        assert result.overlay(image).shape == image.shape
        assert result.overlay(image[..., 0]).shape == image.shape


def test_addresses_above_4_gib(micro, image, expected, pattern_kernel):
    device = EmulatedDevice(
        "zcu104", kernel=pattern_kernel, memory_bytes=8 << 20, memory_base=0x9_0000_0000
    )
    with M3ViTOverlay(micro, device=device) as overlay:
        result = overlay.run(image, task="depth")
        np.testing.assert_array_equal(result.data, expected(image, micro, "depth"))


@pytest.mark.parametrize("interrupt", [True, False])
def test_polling_and_interrupt_give_the_same(overlay, micro, image, expected, interrupt):
    overlay.driver.use_interrupt = interrupt
    for task in ("segmentation", "depth", "segmentation"):
        result = overlay.run(image, task=task)
        np.testing.assert_array_equal(result.data, expected(image, micro, task))


def test_frame_numbers_and_no_cycles(overlay, image):
    first, second = overlay.run(image, task="segmentation"), overlay.run(image, task="depth")
    assert first.cycles is None and second.cycles is None, "nothing counts them"
    assert (first.frame_index, second.frame_index) == (0, 1)
    assert second.device_seconds > 0


def test_await_a_frame(overlay, micro, image, expected):
    async def frame(task: str):
        pair = overlay._frames[0]
        pair.fill(image)
        overlay._start(micro.task(task), pair, micro)
        ticks = 0

        async def tick():
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.005)

        ticker = asyncio.ensure_future(tick())
        await overlay.driver.wait_async(10)
        ticker.cancel()
        data = np.empty(micro.task(task).output_shape, micro.task(task).dtype)
        pair.read(micro.task(task), data)
        return data, ticks

    overlay._frames.fit(micro)
    overlay.device.faults.delay = 0.3
    for task in ("depth", "segmentation", "depth"):
        data, ticks = asyncio.run(frame(task))  # a new event loop each time
        np.testing.assert_array_equal(data, expected(image, micro, task))
        assert ticks > 2  # the loop went on


def test_a_second_overlay_on_the_device_makes_the_first_stale(device, micro, image):
    with M3ViTOverlay(micro, device=device) as first:
        first.run(image)
        with M3ViTOverlay(micro, device=device) as second:
            with pytest.raises(BitstreamError, match="another overlay was loaded"):
                first.run(image)
            assert second.run(image)
            first.close()
            assert second.run(image)  # closing the old one does no harm


def test_recovering_takes_the_device_back(device, micro, image):
    with M3ViTOverlay(micro, device=device) as first:
        M3ViTOverlay(micro, device=device).close()
        first.recover()
        assert first.run(image)


def test_two_emulated_boards_side_by_side(micro, others, image, expected, pattern_kernel):
    boards = [
        EmulatedDevice(name, kernel=pattern_kernel, memory_bytes=16 << 20)
        for name in ("zcu104", "kv260")
    ]
    with (
        M3ViTOverlay(micro, device=boards[0]) as first,
        M3ViTOverlay(others[0], device=boards[1]) as second,
    ):
        for overlay, package in ((first, micro), (second, others[0]), (first, micro)):
            result = overlay.run(image, task="depth")
            np.testing.assert_array_equal(result.data, expected(image, package, "depth"))
            assert overlay.driver.use_interrupt
    assert [board.memory.live for board in boards] == [0, 0]


def test_a_package_by_path(device, micro, image, tmp_path):
    path = micro.save(tmp_path / "model.m3vit")
    with M3ViTOverlay(path, device=device) as overlay:
        assert overlay.package.program == micro.program
        assert overlay.run(image)


def test_the_active_device_is_the_overlays(overlay, device):
    assert Device.active_device is device


# Which board.


@pytest.fixture
def no_board(monkeypatch):
    for name in ("BOARD", "M3VIT_BOARD", "M3VIT_EMULATE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(locate, "real_devices", lambda: [])


@pytest.fixture
def compiled(monkeypatch, pattern_kernel):
    """The default kernel without a compiler."""
    monkeypatch.setattr(
        "m3vit_pynq.emulator.device.make_kernel", lambda board, _: pattern_kernel(board)
    )


def test_without_a_board_the_emulated_one(no_board, compiled, monkeypatch):
    with M3ViTOverlay() as overlay:
        assert overlay.emulated and overlay.board.name == "zcu104"
    monkeypatch.setenv("M3VIT_BOARD", "ultra96")
    with M3ViTOverlay() as overlay:
        assert overlay.board.name == "ultra96"
    with M3ViTOverlay(board="pynq-z2") as overlay:
        assert overlay.board.name == "pynq-z2"


def test_a_real_board_is_demanded(no_board, monkeypatch):
    monkeypatch.setenv("M3VIT_EMULATE", "0")
    with pytest.raises(
        BitstreamError, match=r"no known board and PYNQ found no device.*XILINX_XRT"
    ):
        M3ViTOverlay()


def test_a_real_board_wins_unless_emulation_is_demanded(no_board, compiled, monkeypatch):
    class Board:
        """A device that PYNQ found."""

    monkeypatch.setattr(locate, "real_devices", lambda: [Board()])
    monkeypatch.setenv("BOARD", "ZCU104")
    with pytest.raises(BitstreamError, match=r"no bitstream for ZCU104.*make -C overlays/zcu104"):
        M3ViTOverlay()
    monkeypatch.setenv("M3VIT_EMULATE", "1")
    with M3ViTOverlay() as overlay:
        assert overlay.emulated


def test_a_board_without_its_environment_is_not_emulated_silently(no_board, monkeypatch):
    monkeypatch.setenv("BOARD", "ZCU104")
    with pytest.raises(BitstreamError, match=r"ZCU104.*no device.*XILINX_XRT.*M3VIT_EMULATE=1"):
        M3ViTOverlay()


@pytest.mark.parametrize(("name", "board"), [("Pynq-Z1", "pynq-z2"), ("KR260", "kv260")])
def test_board_names_of_the_images(monkeypatch, name, board):
    monkeypatch.setenv("BOARD", name)
    assert locate.board_of_this_machine().name == board


def test_an_unknown_board(monkeypatch):
    monkeypatch.setenv("BOARD", "VCK190")
    with pytest.raises(BitstreamError, match=r"VCK190.*known: ZCU104"):
        locate.board_of_this_machine()


def test_a_misspelt_board(no_board):
    with pytest.raises(ValueError, match=r"unknown board 'zcu999'.*zcu104, zcu102, kv260"):
        M3ViTOverlay(board="zcu999")


def test_a_wrong_value_in_the_environment(monkeypatch):
    monkeypatch.setenv("M3VIT_EMULATE", "yes")
    with pytest.raises(ValueError, match="M3VIT_EMULATE is 'yes'"):
        locate.wants_emulation()


# The package itself.


def test_importing_the_package_imports_no_pynq():
    code = (
        "import sys, m3vit_pynq, m3vit_pynq.config, m3vit_pynq.abi.isa;"
        "assert 'pynq' not in sys.modules and 'cv2' not in sys.modules;"
        "print(m3vit_pynq.__version__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == m3vit_pynq.__version__


def test_numpy_2_is_refused_in_one_line():
    code = "import numpy; numpy.__version__ = '2.1.0'; import m3vit_pynq"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "numpy 2.1.0 breaks pynq.allocate: pip install 'numpy>=1.21,<2'" in done.stderr


def test_lazy_names():
    assert m3vit_pynq.M3ViTOverlay is M3ViTOverlay
    assert "Package" in dir(m3vit_pynq)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = m3vit_pynq.Nothing


def test_the_plugin_binds_the_driver():
    from m3vit_pynq import pynq_plugin

    assert pynq_plugin.M3ViTDriver.bindto == ["m3vit-pynq:hls:m3vit_accel:1.0"]
