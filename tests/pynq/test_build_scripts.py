# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The Tcl scripts, executed against stand-ins for the commands of the tools.

No tool is available where the tests run. What can be checked is that the
scripts are valid Tcl, and that the design they describe is the one of the
register map: names, addresses, connections.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from m3vit_pynq import locate
from m3vit_pynq.abi import registers
from m3vit_pynq.abi.boards import BOARDS

TCLSH = shutil.which("tclsh")
ROOT = locate.overlays_directory()
pytestmark = pytest.mark.skipif(
    TCLSH is None or not (ROOT / "common").is_dir(), reason="no tclsh, or not a source checkout"
)

# Every command that is not Tcl's is recorded and returns its last argument,
# which is the name of what it made or found.
STANDIN = """
proc unknown {args} { puts "CALL $args"; return [lindex $args end] }
proc exec {args} { puts "EXEC $args" }
rename exit real_exit
proc exit {args} { puts "EXIT"; real_exit 0 }
proc wait_on_run {args} { puts "CALL wait_on_run $args" }
proc get_property {name object} { return [expr {$name eq "PROGRESS" ? "100%" : 0.1}] }
rename file real_file
proc file {sub args} {
    if {$sub in {copy mkdir}} { puts "FILE $sub $args" } else { real_file $sub {*}$args }
}
proc glob {args} { return [lindex $args end] }
"""


def run(board: str, script: str, tmp_path: Path) -> list[str]:
    program = tmp_path / "run.tcl"
    program.write_text(f"{STANDIN}\nsource ../common/{script}\n")
    done = subprocess.run(
        [TCLSH, str(program)], cwd=ROOT / board, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture(params=sorted(BOARDS))
def board(request):
    return BOARDS[request.param]


def test_hls_script(board, tmp_path):
    calls = run(board.name, "hls.tcl", tmp_path)
    assert f"CALL set_part {board.part}" in calls
    assert "CALL set_top m3vit_accel" in calls
    period = next(line for line in calls if "create_clock" in line).split()[3]
    assert float(period) == pytest.approx(1000 / board.clock_mhz, abs=1e-3)
    export = next(line for line in calls if "export_design" in line)
    assert re.search("-vendor m3vit-pynq -library hls -ipname m3vit_accel -version 1.0", export), (
        export
    )
    flags = next(line for line in calls if "add_files" in line)
    macro = re.search(r"-D(M3VIT_BOARD_\w+)", flags).group(1)
    selector = (ROOT.parent / "hls_src/generated/board.h").read_text()
    assert f'#elif defined({macro})\n#include "boards/{board.name}.h"' in selector
    assert calls[-1] == "EXIT"


def test_block_design(board, tmp_path):
    calls = run(board.name, "block_design.tcl", tmp_path)
    cells = {line.split()[-1]: line.split()[-2] for line in calls if "create_bd_cell" in line}
    assert cells["m3vit_accel_0"] == "m3vit-pynq:hls:m3vit_accel:1.0"
    base = {"zynqmp": ("0xA0000000", "0xA0010000"), "zynq": ("0x40000000", "0x41800000")}
    offsets = [line.split()[3] for line in calls if line.startswith("CALL assign_bd_address -off")]
    assert tuple(offsets) == base[board.family]
    links = [line.split()[2:] for line in calls if "connect_bd_intf_net" in line]
    masters = {link[0] for link in links if "/m_axi_" in link[0]}
    expected = {a.name for a in registers.ARGUMENTS if a.kind == "pointer"}
    assert masters == {f"m3vit_accel_0/m_axi_{name}" for name in expected}
    # Every pin of every interconnect is connected once.
    pins = [pin for link in links for pin in link]
    assert len(pins) == len(set(pins))
    for line in calls:
        match = re.match(r"CALL set_property -dict {CONFIG.NUM_SI (\d+) CONFIG.NUM_MI (\d+)} (\w+)",
                         line)  # fmt: skip
        if match:
            slaves, ports, cell = int(match[1]), int(match[2]), match[3]
            assert sum(pin.startswith(f"{cell}/S0") for pin in pins) == slaves
            assert sum(pin.startswith(f"{cell}/M0") for pin in pins) == ports
    nets = [line.split()[2:] for line in calls if "connect_bd_net" in line]
    assert ["m3vit_accel_0/interrupt", "axi_intc_0/intr"] in nets
    irq = {"zynqmp": "zynq_ultra_ps_e_0/pl_ps_irq0", "zynq": "processing_system7_0/IRQ_F2P"}
    assert ["axi_intc_0/irq", irq[board.family]] in nets
    assert calls[-3:] == [
        "FILE copy -force build/vivado/m3vit.gen/sources_1/bd/m3vit/hw_handoff/m3vit.hwh m3vit.hwh",
        "FILE copy -force build/vivado/m3vit.runs/impl_1/m3vit_wrapper.bit m3vit.bit",
        "EXIT",
    ]


def test_make_says_what_is_missing(board):
    make = shutil.which("make")
    if make is None or shutil.which("vitis_hls"):
        pytest.skip("no make, or the tools are installed")
    done = subprocess.run(
        [make, "-C", str(ROOT / board.name), "ip"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode != 0
    assert "vitis_hls not found: source the settings64.sh" in done.stderr
