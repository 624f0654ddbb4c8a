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


def control(kernel, request, **content):
    """What the kernel answers to a request that does not wait for cells."""
    kernel.client.control_channel.send(kernel.client.session.msg(request, content))
    return kernel.client.get_control_msg(timeout=30)["content"]


def create_subshell(kernel):
    """A new thread for messages in the kernel, as JupyterLab has one made for each of its pages."""
    return control(kernel, "create_subshell_request")["subshell_id"]


def say(kernel, subshell, comm, **content):
    """What a page with this subshell says about a widget."""
    message = kernel.client.session.msg(
        "comm_msg", {"comm_id": comm, "data": {"method": "custom", "content": content}}
    )
    message["header"]["subshell_id"] = subshell
    kernel.client.shell_channel.send(message)


def wait_for_picture(kernel, subshell):
    """Wait for a picture that is sent as part of a request to this subshell."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            message = kernel.client.get_iopub_msg(timeout=1)
        except queue.Empty:
            continue
        if message["buffers"] and message["parent_header"].get("subshell_id") == subshell:
            return
    raise AssertionError("no picture")


def test_a_page_is_heard_after_another_one_went(kernel):
    """A page is loaded again: its old connection ends while pictures go on."""
    pytest.importorskip("anywidget")
    kernel.client.kernel_info()
    features = kernel.client.get_shell_msg(timeout=30)["content"].get("supported_features", [])
    if "kernel subshells" not in features:
        pytest.skip("this ipykernel has no subshells")
    kernel.run(SETUP.format(package=kernel.package, acknowledged=True))
    picture = kernel.run("view.wait(1); print(view._picture.comm.comm_id)")
    stays, goes = create_subshell(kernel), create_subshell(kernel)

    say(kernel, goes, picture, type="hello")
    wait_for_picture(kernel, goes)
    assert control(kernel, "delete_subshell_request", subshell_id=goes)["status"] == "ok"

    say(kernel, stays, picture, type="point", x=0.125, y=0.75)
    heard = kernel.run(
        "end = time.monotonic() + 20\n"
        "while view.point != (0.75, 0.125) and time.monotonic() < end: time.sleep(0.05)\n"
        "print(view.point)"
    )
    assert heard == "(0.75, 0.125)"
