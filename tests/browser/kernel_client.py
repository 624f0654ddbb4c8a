# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""A second client of the notebook's kernel, to ask it what no page shows."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from jupyter_client import BlockingKernelClient

TIMEOUT = 60.0


class Kernel:
    """Runs code beside the notebook's own cells.

    In a thread of its own: Playwright keeps the main thread's event loop to itself.
    """

    def __init__(self, connection_file: Path) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._file = connection_file
        self._client = self._do(self._connect, "shell")

    def _do(self, act: Callable[..., object], *arguments: object) -> object:
        return self._thread.submit(act, *arguments).result(3 * TIMEOUT)

    def _connect(self, channel: str) -> BlockingKernelClient:
        """A client with one channel; what it does not read would pile up otherwise."""
        client = BlockingKernelClient(connection_file=str(self._file))
        client.load_connection_file()
        channels = ("shell", "iopub", "stdin", "hb", "control")
        client.start_channels(**{name: name == channel for name in channels})
        return client

    def ask(self, expression: str) -> str:
        """The value of an expression as `repr`; `AssertionError` if it raises."""
        return self._do(self._ask, "", expression)

    def run(self, code: str) -> None:
        """Run statements; `AssertionError` if they raise."""
        self._do(self._ask, code, "None")

    def _ask(self, code: str, expression: str) -> str:
        message = self._client.execute(
            code, silent=True, store_history=False, user_expressions={"value": expression},
            allow_stdin=False,
        )  # fmt: skip
        end = time.monotonic() + TIMEOUT
        while True:
            content = self._client.get_shell_msg(timeout=max(0.1, end - time.monotonic()))
            if content["parent_header"].get("msg_id") == message:
                break
        reply = content["content"]
        assert reply["status"] == "ok", f"{code}: {reply.get('evalue')}"
        value = reply["user_expressions"]["value"]
        assert value["status"] == "ok", f"{expression}: {value.get('evalue')}"
        return value["data"]["text/plain"]

    def pictures_sent(self, seconds: float) -> int:
        """Messages with a picture in them that the kernel sends to its pages in some seconds."""
        return self._do(self._pictures_sent, seconds)

    def _pictures_sent(self, seconds: float) -> int:
        client = self._connect("iopub")
        try:
            count, end = 0, time.monotonic() + seconds
            while (left := end - time.monotonic()) > 0:
                try:
                    message = client.get_iopub_msg(timeout=left)
                except queue.Empty:
                    break
                count += message["msg_type"] == "comm_msg" and bool(message["buffers"])
            return count
        finally:
            client.stop_channels()

    def close(self) -> None:
        """Leave the kernel."""
        self._do(self._client.stop_channels)
        self._thread.shutdown()
