# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The Voilà of the environment that runs the tests."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from jupyter_process import JupyterProcess


class VoilaServer(JupyterProcess):
    """Voilà with the live app.

    Parameters
    ----------
    folder : Path
        For the notebook, and all settings of Jupyter.
    package : Path, optional
        Model for the notebook; the shipped one by default.
    """

    #: Not the app itself, which would start a kernel.
    probe = "favicon.ico"

    def __init__(self, folder: Path, package: Path | None = None) -> None:
        super().__init__(folder, "06_live_app.ipynb", package)

    def command(self) -> list[str]:
        # The first versions have no token.
        token = [] if version("voila").startswith("0.3.") else [f"--Voila.token={self.token}"]
        return [
            "voila", self.notebook.name, "--no-browser", f"--port={self.port}",
            "--Voila.port_retries=0", *token,
        ]  # fmt: skip

    @property
    def address(self) -> str:
        """Where the app is."""
        return self.url("")
