# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The Voilà of the environment that runs the tests."""

from __future__ import annotations

from importlib.metadata import version

from jupyter_process import JupyterProcess


class VoilaServer(JupyterProcess):
    """Voilà with the live app; parameters as of `JupyterProcess`."""

    source = "06_live_app.ipynb"
    #: Not the app itself, which would start a kernel.
    probe = "favicon.ico"

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
