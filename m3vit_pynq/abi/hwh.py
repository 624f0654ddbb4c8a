# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The hardware handoff (``.hwh``) that PYNQ reads beside a bitstream.

Vivado writes such a file when a block design is built; this module writes the
part of it that PYNQ uses, from the register map and the board table, so that
the driver and the emulated board can be developed before a bitstream exists.
A file written by Vivado replaces it.
"""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from m3vit_pynq.abi import registers
from m3vit_pynq.abi.boards import Board

AXI = "xilinx.com:interface:aximm:1.0"
INTC_VLNV = "xilinx.com:ip:axi_intc:4.1"
INTC_INSTANCE = "axi_intc_0"
INTC_RANGE = 0x1000


@dataclass(frozen=True)
class Family:
    """What the block designs of one processing system have in common.

    Attributes
    ----------
    accelerator, intc : int
        Base addresses of the two register files.
    clock_sources : tuple
        PLLs (name, MHz) that the PL clock divisors can divide. Only the one that the
        boot loader selects: PYNQ writes the divisors of a clock, never its source.
    memory : dict
        Memory port of the processing system -> AXI masters of the accelerator that
        share it.
    """

    vlnv: str
    instance: str
    master: str
    irq_pin: str
    accelerator: int
    intc: int
    clock_sources: tuple[tuple[str, float], ...]
    memory: dict[str, tuple[str, ...]]


FAMILIES = {
    "zynqmp": Family(
        vlnv="xilinx.com:ip:zynq_ultra_ps_e:3.4", instance="zynq_ultra_ps_e_0",
        master="M_AXI_HPM0_FPD", irq_pin="pl_ps_irq0",
        accelerator=0xA000_0000, intc=0xA001_0000,
        clock_sources=(("IOPLL", 1500.0),),
        # HP1 and HP2 share a port of the memory controller; HP3 has all writes.
        memory={
            "HP0": ("bank_weights0",),
            "HP1": ("bank_weights1",),
            "HP2": ("bank_weights2",),
            "HP3": ("bank_weights3", "bank_results", "result_pixels"),
            "HPC0": ("bank_tokens", "frame_pixels"),
            "HPC1": ("bank_residual", "bank_program", "bank_records"),
        },
    ),
    "zynq": Family(
        vlnv="xilinx.com:ip:processing_system7:5.5", instance="processing_system7_0",
        master="M_AXI_GP0", irq_pin="IRQ_F2P",
        accelerator=0x4000_0000, intc=0x4180_0000,
        clock_sources=(("IO PLL", 1000.0),),
        memory={
            "HP0": ("bank_weights0", "bank_weights1"),
            "HP1": ("bank_weights2", "bank_weights3"),
            "HP2": ("bank_tokens", "frame_pixels", "bank_results", "result_pixels"),
            "HP3": ("bank_residual", "bank_program", "bank_records"),
        },
    ),
}  # fmt: skip

# (name, bit offset, bit width, access) of the control registers, UG1399.
_CONTROL = (
    ("CTRL", registers.CTRL, "Control signals", (
        ("AP_START", 0, 1, "read-write"), ("AP_DONE", 1, 1, "read-only"),
        ("AP_IDLE", 2, 1, "read-only"), ("AP_READY", 3, 1, "read-only"),
        ("AUTO_RESTART", 7, 1, "read-write"), ("INTERRUPT", 9, 1, "read-only"),
    )),
    ("GIER", registers.GIER, "Global Interrupt Enable Register", (
        ("Enable", 0, 1, "read-write"),
    )),
    ("IP_IER", registers.IER, "IP Interrupt Enable Register", (
        ("CHAN0_INT_EN", 0, 1, "read-write"), ("CHAN1_INT_EN", 1, 1, "read-write"),
    )),
    ("IP_ISR", registers.ISR, "IP Interrupt Status Register", (
        ("CHAN0_INT_ST", 0, 1, "read-write"), ("CHAN1_INT_ST", 1, 1, "read-write"),
    )),
)  # fmt: skip


@dataclass(frozen=True)
class PlClock:
    """How a PL clock is made: ``megahertz = source / (divisor0 * divisor1)``."""

    source: str
    divisor0: int
    divisor1: int
    megahertz: float


def pl_clock(board: Board) -> PlClock:
    """The fastest PL clock 0 that does not exceed the board's target clock."""
    choices = (
        PlClock(source, a, b, megahertz / (a * b))
        for source, megahertz in FAMILIES[board.family].clock_sources
        for b in range(1, 64)
        for a in range(1, 64)
    )
    # max() keeps the first of equals: one divisor is preferred to two.
    return max((c for c in choices if c.megahertz <= board.clock_mhz), key=lambda c: c.megahertz)


def render(board: Board) -> str:
    """The ``.hwh`` of a board as XML text."""
    family = FAMILIES[board.family]
    root = Element("EDKSYSTEM", EDWVERSION="1.2", VIVADOVERSION="2022.2")
    SubElement(
        root, "SYSTEMINFO", NAME="m3vit", BOARD=board.title, ARCH=board.family,
        DEVICE=board.part.split("-")[0], PART=board.part,
    )  # fmt: skip
    SubElement(root, "EXTERNALPORTS")
    SubElement(root, "EXTERNALINTERFACES")
    modules = SubElement(root, "MODULES")
    _processing_system(modules, board, family)
    _accelerator(modules)
    _interrupt_controller(modules, family)
    ElementTree.indent(root, " ")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, "unicode") + "\n"


def _module(modules: Element, instance: str, vlnv: str, **attributes: str) -> Element:
    name, version = vlnv.split(":")[2:]
    return SubElement(
        modules, "MODULE", INSTANCE=instance, FULLNAME=f"/{instance}", VLNV=vlnv, MODTYPE=name,
        HWVERSION=version, **attributes,
    )  # fmt: skip


def _parameters(module: Element, values: dict[str, object]) -> None:
    parent = SubElement(module, "PARAMETERS")
    for name, value in values.items():
        SubElement(parent, "PARAMETER", NAME=name, VALUE=str(value))


def _properties(parent: Element, values: dict[str, object]) -> None:
    for name, value in values.items():
        SubElement(parent, "PROPERTY", NAME=name, VALUE=str(value))


def _port(ports: Element, name: str, direction: str, peer: str, pin: str) -> None:
    port = SubElement(ports, "PORT", NAME=name, DIR=direction, SIGIS="INTERRUPT")
    connections = SubElement(port, "CONNECTIONS")
    SubElement(connections, "CONNECTION", INSTANCE=peer, PORT=pin)


def _interface(module: Element, name: str, kind: str) -> None:
    interfaces = SubElement(module, "BUSINTERFACES")
    SubElement(interfaces, "BUSINTERFACE", NAME=name, TYPE=kind, VLNV=AXI)


def _processing_system(modules: Element, board: Board, family: Family) -> None:
    module = _module(modules, family.instance, family.vlnv, IS_PL="FALSE")
    _parameters(module, _clock_parameters(board))
    ports = SubElement(module, "PORTS")
    _port(ports, family.irq_pin, "I", INTC_INSTANCE, "irq")
    _interface(module, family.master, "MASTER")
    memory_map = SubElement(module, "MEMORYMAP")
    for instance, interface, base, size in (
        (registers.INSTANCE, "s_axi_control", family.accelerator, registers.ADDRESS_RANGE),
        (INTC_INSTANCE, "s_axi", family.intc, INTC_RANGE),
    ):
        SubElement(
            memory_map, "MEMRANGE", ADDRESSBLOCK="Reg", BASEVALUE=f"0x{base:08X}",
            HIGHVALUE=f"0x{base + size - 1:08X}", INSTANCE=instance, IS_DATA="TRUE",
            MASTERBUSINTERFACE=family.master, MEMTYPE="REGISTER", SLAVEBUSINTERFACE=interface,
        )  # fmt: skip


def _clock_parameters(board: Board) -> dict[str, object]:
    """Parameters of the four PL clocks; only clock 0 is used."""
    clock = pl_clock(board)
    values: dict[str, object] = {}
    for index in range(4):
        used = index == 0
        divisors = (clock.divisor0, clock.divisor1) if used else (15, 1)
        source = clock.source if used else FAMILIES[board.family].clock_sources[0][0]
        if board.family == "zynqmp":
            prefix = f"PSU__CRL_APB__PL{index}_REF_CTRL__"
            values[f"PSU__FPGA_PL{index}_ENABLE"] = int(used)
            values[prefix + "SRCSEL"] = source
        else:
            prefix = f"PCW_FCLK{index}_PERIPHERAL_"
            values[f"PCW_FPGA_FCLK{index}_ENABLE"] = int(used)
            values[prefix + "CLKSRC"] = source
        values[prefix + "DIVISOR0"], values[prefix + "DIVISOR1"] = divisors
        if used and board.family == "zynqmp":
            values[prefix + "ACT_FREQMHZ"] = f"{clock.megahertz:.6f}"
    return values


def _accelerator(modules: Element) -> None:
    module = _module(modules, registers.INSTANCE, registers.VLNV, IS_PL="TRUE")
    blocks = SubElement(module, "ADDRESSBLOCKS")
    block = SubElement(
        blocks, "ADDRESSBLOCK", NAME="Reg", USAGE="register", ACCESS="read-write",
        INTERFACE="s_axi_control", RANGE=str(registers.ADDRESS_RANGE),
    )  # fmt: skip
    table = SubElement(block, "REGISTERS")
    for name, offset, doc, fields in _CONTROL:
        _register(table, name, offset, doc, "read-write", fields)
    for argument in registers.ARGUMENTS:
        _argument(table, argument)
    _parameters(module, {"C_S_AXI_CONTROL_BASEADDR": "0x0"})
    ports = SubElement(module, "PORTS")
    _port(ports, "interrupt", "O", INTC_INSTANCE, "intr")
    _interface(module, "s_axi_control", "SLAVE")


def _argument(table: Element, argument: registers.Argument) -> None:
    name, doc = argument.name, argument.doc
    if argument.kind == "pointer":
        words = ((f"{name}_1", argument.offset, "low word"),
                 (f"{name}_2", argument.offset_high, "high word"))  # fmt: skip
        for register, offset, part in words:
            field = ((name, 0, 32, "write-only"),)
            _register(table, register, offset, f"{doc} ({part})", "write-only", field)
    elif argument.kind == "in":
        _register(table, name, argument.offset, doc, "write-only", ((name, 0, 32, "write-only"),))
    else:
        _register(table, name, argument.offset, doc, "read-only", ((name, 0, 32, "read-only"),))
        valid = ((f"{name}_ap_vld", 0, 1, "read-only"),)
        _register(
            table, f"{name}_ctrl", argument.offset + 4, f"valid flag of {name}", "read-only", valid
        )


def _register(table: Element, name: str, offset: int, doc: str, access: str, fields: tuple) -> None:
    register = SubElement(table, "REGISTER", NAME=name)
    _properties(register, {
        "DESCRIPTION": doc, "ADDRESS_OFFSET": f"0x{offset:X}", "SIZE": 32, "ACCESS": access,
        "IS_ENABLED": "true", "RESET_VALUE": 0,
    })  # fmt: skip
    parent = SubElement(register, "FIELDS")
    for field_name, bit, width, field_access in fields:
        field = SubElement(parent, "FIELD", NAME=field_name)
        _properties(field, {
            "DESCRIPTION": field_name, "ADDRESS_OFFSET": 0, "ACCESS": field_access,
            "BIT_OFFSET": bit, "BIT_WIDTH": width,
        })  # fmt: skip


def _interrupt_controller(modules: Element, family: Family) -> None:
    module = _module(modules, INTC_INSTANCE, INTC_VLNV, IS_PL="TRUE")
    # Level-sensitive: the accelerator holds its line until ISR is cleared.
    _parameters(module, {"C_KIND_OF_INTR": "0xFFFFFFFE", "C_NUM_INTR_INPUTS": 1})
    ports = SubElement(module, "PORTS")
    _port(ports, "intr", "I", registers.INSTANCE, "interrupt")
    _port(ports, "irq", "O", family.instance, family.irq_pin)
    _interface(module, "s_axi", "SLAVE")
