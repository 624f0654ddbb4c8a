# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""A JupyterLab of the environment that runs the tests, in a folder of its own."""

from __future__ import annotations

import json
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
NOTEBOOK = ROOT / "notebooks" / "02_live_camera.ipynb"

START_TIMEOUT = 120.0
_NO_NEWS = {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True}


class LabServer:
    """Started with the object, ended with `close`; a context manager.

    Parameters
    ----------
    folder : Path
        For the notebooks, and all settings of Jupyter.
    package : Path, optional
        Model for the notebooks; the shipped one by default.
    dark : bool
        Whether to use the dark theme.
    """

    def __init__(self, folder: Path, package: Path | None = None, dark: bool = False) -> None:
        self.notebooks = folder / "notebooks"
        self.notebooks.mkdir(parents=True)
        shutil.copy(NOTEBOOK, self.notebooks)
        self.log = folder / "lab.log"
        self.runtime = folder / "runtime"
        self.token = secrets.token_hex(16)
        self._settle(folder / "settings", dark)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command(), env=self._environment(folder, package), cwd=self.notebooks,
                stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        try:
            self._wait()
        except BaseException:
            self.close()
            raise

    def _settle(self, folder: Path, dark: bool) -> None:
        """Settings: the theme, and no questions."""
        texts = {
            "notification": _NO_NEWS,
            "themes": {"theme": "JupyterLab Dark" if dark else "JupyterLab Light"},
        }
        place = folder / "@jupyterlab" / "apputils-extension"
        place.mkdir(parents=True)
        for name, values in texts.items():
            (place / f"{name}.jupyterlab-settings").write_text(json.dumps(values))

    def _command(self) -> list[str]:
        return [
            sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1",
            f"--port={self.port}", "--ServerApp.port_retries=0", "--ServerApp.password=",
            f"--ServerApp.token={self.token}", f"--ServerApp.root_dir={self.notebooks}",
            "--LabApp.expose_app_in_browser=True",
        ]  # fmt: skip

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
        while time.monotonic() < end:
            if self._process.poll() is not None:
                break
            try:
                self._get("api/status")
                return
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        raise RuntimeError(f"JupyterLab did not start:\n{self.log.read_text()[-3000:]}")

    def _get(self, path: str) -> object:
        url = f"http://127.0.0.1:{self.port}/{path}?token={self.token}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)

    def address(self, workspace: str) -> str:
        """Where the live notebook is opened, in a workspace that remembers no other page."""
        place = f"lab/workspaces/{workspace}/tree/{NOTEBOOK.name}"
        return f"http://127.0.0.1:{self.port}/{place}?token={self.token}"

    def connection_file(self) -> Path:
        """For a client of the kernel that runs the notebook."""
        sessions = self._get("api/sessions")
        assert len(sessions) == 1, f"one kernel expected: {sessions}"
        return self.runtime / f"kernel-{sessions[0]['kernel']['id']}.json"

    def close(self) -> None:
        """End server and kernels. Idempotent."""
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(20)

    def __enter__(self) -> LabServer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
