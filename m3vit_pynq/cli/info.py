# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""``m3vit-pynq info``: the board, its bitstream, the packages, the versions."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING, Any

from m3vit_pynq.cli.options import add_json, write_json

if TYPE_CHECKING:
    from m3vit_pynq.overlay import M3ViTOverlay


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Register the command."""
    parser = subparsers.add_parser("info", help="show the board, its registers, packages, versions")
    parser.add_argument("--board", help="configuration of the emulated board")
    parser.add_argument("--package", help="also describe this package")
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Load the overlay, ask it who it is, print what it says."""
    from m3vit_pynq.computer import versions
    from m3vit_pynq.overlay import M3ViTOverlay
    from m3vit_pynq.package import Package, shipped

    with M3ViTOverlay(board=arguments.board) as overlay:
        facts: dict[str, Any] = {"board": _board(overlay), "registers": _registers(overlay)}
    facts["packages"] = list(shipped())
    if arguments.package:
        facts["package"] = _package(Package.load(arguments.package))
    facts["versions"] = versions()
    for section, content in facts.items():
        print(f"{section}")
        print("\n".join(_lines(content)) or "  none")
    write_json(arguments.json, facts)
    return 0


def _board(overlay: M3ViTOverlay) -> dict[str, Any]:
    found = dataclasses.asdict(overlay.identification)
    tokens, outputs, inputs = overlay.identification.parallelism
    return {
        "name": overlay.board.title,
        "emulated": overlay.emulated,
        **({"engine": overlay.device.engine} if overlay.emulated else {}),
        "bitstream": str(overlay.bitfile_name),
        "clock": f"{overlay.clock_mhz or overlay.board.clock_mhz:g} MHz",
        "multiply-accumulates per cycle": f"{tokens * outputs * inputs} "
        f"({tokens} tokens x {outputs} outputs x {inputs} inputs)",
        "identification": f"0x{found['magic']:08x}, ABI {found['abi_version']}",
        **overlay.identification.capacities,
    }


def _registers(overlay: M3ViTOverlay) -> dict[str, str]:
    """Offsets and values, read one by one; CTRL is shown as it was read once."""
    from m3vit_pynq.abi.registers import ARGUMENTS, CTRL

    port = overlay.driver.port
    values = {f"0x{CTRL:03x} CTRL": f"0x{port.status():08x}"}
    for argument in ARGUMENTS:
        if argument.kind == "out":
            value = port.read(argument.offset)
            values[f"0x{argument.offset:03x} {argument.name}"] = f"0x{value:08x}"
    return values


def _package(package) -> dict[str, Any]:
    config, metadata = package.config, package.metadata
    return {
        "variant": config.name,
        "frame": f"{config.image_size[0]}x{config.image_size[1]}",
        "model": f"{config.depth} blocks of {config.embed_dim}, {config.experts} experts, "
        f"{config.top_k} per token",
        "tasks": ", ".join(package.task_names),
        "instructions": len(package.decoded.instructions),
        "weights": f"{package.weights.nbytes / 1e6:.1f} MB",
        **package.requirements,
        **_fits(package),
        **{key: metadata[key] for key in ("provenance", "licence", "scenes") if key in metadata},
    }


def _fits(package) -> dict[str, str]:
    """Boards that the package fits, and those that it does not with the number."""
    from m3vit_pynq.abi.boards import BOARDS
    from m3vit_pynq.errors import CapacityError

    fits, problems = [], []
    for board in BOARDS.values():
        try:
            package.check_fits(board)
            fits.append(board.title)
        except CapacityError as error:
            problems.append(f"{board.title} ({error.resource} {error.needed}, "
                            f"it has {error.available})")  # fmt: skip
    facts = {"fits": ", ".join(fits) or "no board"}
    return {**facts, "does not fit": ", ".join(problems)} if problems else facts


def _lines(content: Any) -> list[str]:
    if isinstance(content, dict):
        return [f"  {key:<32}{value}" for key, value in content.items()]
    return [f"  {item}" for item in content]
