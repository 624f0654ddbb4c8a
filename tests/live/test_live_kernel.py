# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The live view inside a real Jupyter kernel: cells that run, interrupts, the end of the kernel."""

import os
import queue
import time
from pathlib import Path

import pytest

jupyter_client = pytest.importorskip("jupyter_client")

ROOT = Path(__file__).resolve().parents[2]

SETUP = """
import threading, time
from m3vit_pynq import M3ViTOverlay
overlay = M3ViTOverlay({package!r})
view = overlay.live("synthetic", acknowledged={acknowledged})
number = lambda: view.session.moment.number if view.session.moment else 0
"""


class Kernel:
    """A kernel and what it prints."""

    def __init__(self, folder):
        environment = {
            **os.environ, "M3VIT_EMULATE": "1",
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        }  # fmt: skip
        self.manager = jupyter_client.KernelManager(kernel_name="python3")
        self.manager.start_kernel(env=environment, cwd=str(folder))
        self.client = self.manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    def begin(self, code):
        return self.client.execute(code)

    def end(self, identity, timeout=60):
        """What a cell printed, and the name of the exception that ended it."""
        text, error, deadline = "", None, time.monotonic() + timeout
        while time.monotonic() < deadline:
            try:
                message = self.client.get_iopub_msg(timeout=1)
            except queue.Empty:
                continue
            if message["parent_header"].get("msg_id") != identity:
                continue
            content = message["content"]
            if message["msg_type"] == "stream":
                text += content["text"]
            elif message["msg_type"] == "error":
                error = content["ename"]
            elif message["msg_type"] == "status" and content["execution_state"] == "idle":
                return text, error
        raise AssertionError("the cell did not end")

    def run(self, code):
        text, error = self.end(self.begin(code))
        assert error is None, text
        return text.strip()

    def close(self):
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


@pytest.fixture
def kernel(tmp_path, micro):
    package = micro.save(tmp_path / "micro.m3vit")
    kernel = Kernel(tmp_path)
    kernel.package = str(package)
    yield kernel
    kernel.close()


@pytest.mark.parametrize("acknowledged", [False, True])
def test_cells_run_meanwhile_and_an_interrupt_does_not_stop_the_view(kernel, acknowledged):
    if acknowledged:
        pytest.importorskip("anywidget")
    kernel.run(SETUP.format(package=kernel.package, acknowledged=acknowledged))
    kernel.run("view.wait(3)")
    before = int(kernel.run("print(number())"))
    assert kernel.run("print(view._cells.busy)") == "True"  # asked from a cell
    busy = kernel.begin("t = time.monotonic()\nwhile time.monotonic() - t < 60: pass")
    time.sleep(1.5)
    kernel.manager.interrupt_kernel()
    _, error = kernel.end(busy)
    assert error == "KeyboardInterrupt"
    during = int(kernel.run("print(number())"))
    assert during > before
    assert kernel.run("print(view.running, view.status.state)") == "True running"
    kernel.run("view.task = 'depth'; view.wait(3)")
    assert kernel.run("print(list(view.session.moment.shots))") == "['depth']"
    kernel.run("view.stop()")
    names = "print([t.name for t in threading.enumerate() if t.name.startswith('m3vit-live')])"
    assert kernel.run(names) == "[]"
    again = kernel.run("print(view.running, *overlay.run(view.session.moment.newest.frame))")
    assert again == "False segmentation depth"


def test_running_the_cell_again_takes_over(kernel):
    kernel.run(SETUP.format(package=kernel.package, acknowledged=False))
    kernel.run("first = view; view = overlay.live('synthetic', acknowledged=False); view.wait(2)")
    assert kernel.run("print(first.running, view.running)") == "False True"
    assert "taken over" in kernel.run("print(first.status.text)")


def test_a_kernel_that_ends_while_frames_go_on_ends_in_time(kernel):
    kernel.run(SETUP.format(package=kernel.package, acknowledged=False))
    kernel.run("view.wait(2)")
    kernel.client.shutdown()
    deadline = time.monotonic() + 40
    while kernel.manager.is_alive() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not kernel.manager.is_alive()
