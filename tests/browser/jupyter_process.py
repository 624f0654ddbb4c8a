# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""A server of Jupyter in this environment, in a folder and with settings of its own."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

START_TIMEOUT = 120.0
_STOP_TIMEOUT = 20.0


class JupyterProcess:
    """Started with the object, ended with `close`; a context manager.

    Parameters
    ----------
    folder : Path
        For the notebook, and all settings of Jupyter.
    package : Path, optional
        Model for the notebook; the shipped one by default.
    """

    #: Name of the notebook that is served.
    source = ""
    #: Something that answers as soon as the server is there.
    probe = ""

    def __init__(self, folder: Path, package: Path | None = None) -> None:
        self.notebooks = folder / "notebooks"
        self.notebooks.mkdir(parents=True)
        self.notebook = Path(shutil.copy(ROOT / "notebooks" / self.source, self.notebooks))
        self.log = folder / "jupyter.log"
        self.runtime = folder / "runtime"
        self.token = secrets.token_hex(16)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *self.command()], stdout=log, stderr=subprocess.STDOUT,
                env=self._environment(folder, package), cwd=self.notebooks,
            )  # fmt: skip
        try:
            self._wait()
        except BaseException:
            self.close()
            raise

    def command(self) -> list[str]:
        """Python module of the server with its arguments."""
        raise NotImplementedError

    def _environment(self, folder: Path, package: Path | None) -> dict[str, str]:
        environment = {**os.environ, "M3VIT_EMULATE": "1", "JUPYTER_RUNTIME_DIR": str(self.runtime)}
        for name in ("config", "data"):
            environment[f"JUPYTER_{name.upper()}_DIR"] = str(folder / name)
        environment["JUPYTERLAB_SETTINGS_DIR"] = str(folder / "settings")
        environment["JUPYTERLAB_WORKSPACES_DIR"] = str(folder / "workspaces")
        environment["IPYTHONDIR"] = str(folder / "ipython")
        environment.pop("M3VIT_PACKAGE", None)
        if package is not None:
            environment["M3VIT_PACKAGE"] = str(package)
        return environment

    def _wait(self) -> None:
        end = time.monotonic() + START_TIMEOUT
        while time.monotonic() < end and self._process.poll() is None:
            if self._answers():
                return
            time.sleep(0.2)
        raise RuntimeError(f"no server of Jupyter:\n{self.log.read_text()[-3000:]}")

    def _answers(self) -> bool:
        try:
            self.get(self.probe)
        except urllib.error.HTTPError:
            return True  # an answer
        except OSError:
            return False
        return True

    def get(self, path: str) -> bytes:
        """What the server has under a path."""
        with urllib.request.urlopen(self.url(path), timeout=10) as answer:
            return answer.read()

    def url(self, path: str) -> str:
        """Address of a path on the server."""
        return f"http://127.0.0.1:{self.port}/{path}?token={self.token}"

    def close(self) -> None:
        """End server and kernels. Idempotent."""
        self._process.terminate()
        try:
            self._process.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(_STOP_TIMEOUT)

    def __enter__(self) -> JupyterProcess:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
