# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Run the notebooks from top to bottom and store them with their results.

    python tools/execute_notebooks.py              all of notebooks/
    python tools/execute_notebooks.py 03 05        those whose names begin so

What differs from run to run without meaning anything is left out of the files:
execution times, versions. So are widgets, of which text or picture stay: a page
of JupyterLab 3 that finds the stored state of ipywidgets 8 shows no widgets any
more, not even those of a kernel that runs. A notebook that fails is not written,
and the exit code is 1.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "notebooks"

#: Seconds that a cell may take. The reference machine needs a minute on a busy computer.
TIMEOUT = 900

_WIDGET = "application/vnd.jupyter.widget-view+json"

logger = logging.getLogger("execute_notebooks")


def strip(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Take out what changes from run to run and from computer to computer, in place."""
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:02}"
        cell.metadata = nbformat.from_dict(
            {key: value for key, value in cell.metadata.items() if key in ("tags",)}
        )
        for output in cell.get("outputs", ()):
            output.get("data", {}).pop(_WIDGET, None)
    return notebook


def execute(path: Path, timeout: float = TIMEOUT) -> nbformat.NotebookNode:
    """Run a notebook in an empty folder, with the library of this checkout.

    Raises
    ------
    CellExecutionError, CellTimeoutError, DeadKernelError
        If a cell fails, takes too long, or ends the kernel.
    """
    notebook = nbformat.read(path, as_version=4)
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    with tempfile.TemporaryDirectory(prefix="m3vit-notebook-") as folder:
        client = NotebookClient(
            notebook, timeout=timeout, kernel_name="python3", record_timing=False,
            resources={"metadata": {"path": folder}},
        )  # fmt: skip
        client.execute(env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)})
    nbformat.validate(notebook)
    return strip(notebook)


def chosen(folder: Path, prefixes: list[str]) -> list[Path]:
    """Notebooks of a folder whose names begin with one of the prefixes; all without any.

    Raises
    ------
    SystemExit
        If a prefix names none.
    """
    every = sorted(folder.glob("*.ipynb"))
    for prefix in prefixes:
        if not any(path.name.startswith(prefix) for path in every):
            names = ", ".join(path.stem for path in every)
            raise SystemExit(f"no notebook begins with {prefix!r}; there are: {names}")
    return [p for p in every if not prefixes or p.name.startswith(tuple(prefixes))]


def main(arguments: list[str] | None = None) -> int:
    """Run and store; 1 if a notebook failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("prefixes", nargs="*", help="beginnings of names; default: all")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="default: %(default)s")
    parser.add_argument("--timeout", type=float, default=TIMEOUT, help="seconds for a cell")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logger.setLevel(logging.INFO)
    failed = 0
    for path in chosen(options.folder, options.prefixes):
        logger.info("%s", path.name)
        try:
            notebook = execute(path, options.timeout)
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            logger.error("%s failed and was not written:\n%s", path.name, error)
            failed = 1
            continue
        text = nbformat.writes(notebook)
        path.write_text(text if text.endswith("\n") else text + "\n")
    return failed


if __name__ == "__main__":
    sys.exit(main())
