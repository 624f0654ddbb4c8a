# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""A small emulated board for the live view; after every test nothing must be left."""

import pytest
from live_board import Browser, PlainKernel, Scripted, live_threads, until

from m3vit_pynq.compiler import random_package
from m3vit_pynq.config import get_config
from m3vit_pynq.emulator.device import EmulatedDevice
from m3vit_pynq.live import feed as feed_module
from m3vit_pynq.overlay import M3ViTOverlay


@pytest.fixture(scope="session")
def micro():
    return random_package(get_config("micro"), seed=5)


@pytest.fixture
def overlay(micro):
    device = EmulatedDevice("zcu104", kernel=PlainKernel, memory_bytes=64 << 20)
    with M3ViTOverlay(micro, device=device) as overlay:
        overlay.driver.timeout = 20.0
        yield overlay
    assert device.memory.live == 0, "buffers were not returned"


@pytest.fixture
def make(overlay, tmp_path):
    """Widgets that are closed in the end, with a `browser` at their other end."""
    views = []

    def make(source=Scripted, **arguments):
        arguments = {"folder": tmp_path / "snapshots", "rate": 200.0, "start": False, **arguments}
        view = overlay.live(source, **arguments)
        view.browser = Browser(view)
        views.append(view)
        return view

    yield make
    for view in views:
        view.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Sources that went are looked for all the time."""
    monkeypatch.setattr(feed_module, "LOOK_AGAIN", 0.02)


@pytest.fixture(autouse=True)
def nothing_left():
    PlainKernel.fail = 0
    yield
    until(lambda: not live_threads())
