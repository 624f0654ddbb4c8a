# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The JupyterLab of the environment that runs the tests."""

from __future__ import annotations

import json
from pathlib import Path

from jupyter_process import JupyterProcess

_NO_NEWS = {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True}


class LabServer(JupyterProcess):
    """JupyterLab with the live notebook.

    Parameters
    ----------
    folder, package
        As of `JupyterProcess`.
    dark : bool
        Whether to use the dark theme.
    """

    source = "02_live_camera.ipynb"
    probe = "api/status"

    def __init__(self, folder: Path, package: Path | None = None, dark: bool = False) -> None:
        self._settle(folder / "settings", dark)
        super().__init__(folder, package)

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

    def command(self) -> list[str]:
        return [
            "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1",
            f"--port={self.port}", "--ServerApp.port_retries=0", "--ServerApp.password=",
            f"--ServerApp.token={self.token}", f"--ServerApp.root_dir={self.notebooks}",
            "--LabApp.expose_app_in_browser=True",
        ]  # fmt: skip

    def address(self, workspace: str) -> str:
        """Where the live notebook is opened, in a workspace that remembers no other page."""
        return self.url(f"lab/workspaces/{workspace}/tree/{self.notebook.name}")

    def connection_file(self) -> Path:
        """For a client of the kernel that runs the notebook."""
        sessions = json.loads(self.get("api/sessions"))
        assert len(sessions) == 1, f"one kernel expected: {sessions}"
        return self.runtime / f"kernel-{sessions[0]['kernel']['id']}.json"
