# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Showing, tables, the register file and the program, against other sources of the same facts."""

import itertools
import struct
import subprocess
import sys

import cv2
import numpy as np
import pytest
from drawn_figures import nothing_is_cut_off, pixels, rgb, words

from m3vit_pynq import pictures
from m3vit_pynq.abi import isa, registers
from m3vit_pynq.abi.isa import Instruction, Opcode
from m3vit_pynq.compiler import disassemble
from m3vit_pynq.compiler.build import random_frames
from m3vit_pynq.config import get_config
from m3vit_pynq.errors import FrameError
from m3vit_pynq.overlay import M3ViTOverlay
from m3vit_pynq.palette import palette
from m3vit_pynq.pictures import theme
from m3vit_pynq.pictures.opcodes import LOOKS
from m3vit_pynq.pictures.program import program_rows

CONFIG = get_config("micro")
FRAME = random_frames(CONFIG, 1, seed=4)[0]
TASKS = CONFIG.task_names


# Showing


def test_show_makes_a_jpeg_of_an_array_and_a_png_of_a_figure():
    smooth = cv2.GaussianBlur(
        np.random.default_rng(1).integers(0, 256, (40, 60, 3), np.uint8), (0, 0), 5
    )
    image = pictures.show(smooth, 30)
    decoded = cv2.imdecode(np.frombuffer(image.data, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
    assert image.format == "jpeg" and image.width == 30
    assert decoded.shape == smooth.shape
    assert np.abs(decoded.astype(int) - smooth).max() < 20
    figure = theme.new_figure(2.0, 1.0)
    assert pictures.show(figure).format == "png"
    picture = pixels(figure)
    assert picture.shape == (theme.DPI, 2 * theme.DPI, 3)
    assert np.all(picture == rgb(theme.CARD))  # opaque: it does not depend on the page's theme


@pytest.mark.parametrize(
    ("picture", "error"),
    [("photo.jpg", TypeError), (None, TypeError), (np.zeros((9, 9, 2), np.uint8), FrameError),
     (np.zeros((9, 9, 3)), FrameError)],
)  # fmt: skip
def test_show_refuses_what_is_no_picture(picture, error):
    with pytest.raises(error):
        pictures.show(picture)


def test_text_is_readable_on_every_colour():
    """By the contrast of WCAG 2, written down once more."""

    def luminance(colour):
        channels = [c / 255 for c in rgb(colour)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def contrast(a, b):
        high, low = sorted((luminance(a), luminance(b)), reverse=True)
        return (high + 0.05) / (low + 0.05)

    colours = {
        *(look.colour for look in LOOKS.values()),
        *map(theme._hex, palette("")[:64].tolist()),
    }
    for colour in colours:
        chosen = theme.ink_on(colour)
        assert contrast(colour, chosen) == max(
            contrast(colour, "#000000"), contrast(colour, "#ffffff")
        )
        assert contrast(colour, chosen) > 4.5
    assert contrast(theme.CARD, theme.INK) > 7 and contrast(theme.CARD, theme.FAINT) > 4.5


def test_a_table_for_notebooks_and_terminals():
    table = pictures.Table.of(("name", "n"), [("a|b", 10), ("c\nd", 2)])
    assert table._repr_markdown_().splitlines() == [
        "| name | n |", "| --- | --- |", r"| a\|b | 10 |", "| c d | 2 |",
    ]  # fmt: skip
    assert str(pictures.Table.of(("x", "yy"), [("long", 1)])) == "x     yy\nlong  1"
    with pytest.raises(ValueError, match="3 cells in a table of 2"):
        pictures.Table.of(("a", "b"), [(1, 2, 3)])


def test_numbers_and_tables_need_no_matplotlib():
    script = (
        "import sys\n"
        "sys.modules['matplotlib'] = None\n"
        "from m3vit_pynq import pictures, readings\n"
        "print(pictures.Table.of(('a',), [(1,)]))\n"
        "try:\n"
        "    pictures.stage_bars({'device': 1.0})\n"
        "except ImportError as error:\n"
        "    print(error)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True
    )
    assert "pip install 'm3vit-pynq[notebook]'" in run.stdout


def test_a_picture_of_a_figure_is_a_png_with_the_right_size():
    data = pictures.show(theme.new_figure(3, 2)).data
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", data[16:24]) == (3 * theme.DPI, 2 * theme.DPI)


# Registers


def test_recorded_accesses_are_those_of_the_bus(package):
    """Against the counter of the emulated bus, which knows nothing of the recorder."""
    with M3ViTOverlay(package) as overlay:
        overlay.run(FRAME)
        usual = overlay.driver.port
        before = overlay.device.accesses.copy()
        with pictures.recorded(overlay.driver) as accesses:
            results = overlay.run(FRAME)
        on_bus = overlay.device.accesses - before
        assert overlay.driver.port is usual
        seen = {}
        for access in accesses:
            kind = "read" if access.kind == "poll" else access.kind
            key = (registers.INSTANCE, kind, access.offset)
            seen[key] = seen.get(key, 0) + 1
        assert seen == {k: n for k, n in on_bus.items() if k[0] == registers.INSTANCE}
        again = overlay.run(FRAME)  # the usual port writes everything anew
        for task, result in results.items():
            np.testing.assert_array_equal(again[task].data, result.data)


def test_five_registers_a_frame_and_six_after_a_change(package):
    with M3ViTOverlay(package) as overlay:
        with (
            pictures.recorded(overlay.driver) as accesses,
            overlay.stream(itertools.repeat(FRAME, 5), task=TASKS[0]) as stream,
        ):
            for _, result in stream:
                if result.frame_index == 1:
                    stream.task = TASKS[1]
        frames = pictures.frames_of(accesses)
    counts = [sum(access.kind != "poll" for access in frame) for frame in frames]
    assert counts[1:] == [5, 5, 6, 5]
    # By the documented map: start, both buffers, interrupt, error.
    steady = sorted((a.kind, a.offset) for a in frames[2] if a.kind != "poll")
    assert steady == [
        ("read", 0x11C),
        ("write", 0x00), ("write", 0x0C), ("write", 0x8C), ("write", 0x98),
    ]  # fmt: skip
    extra = [a for a in frames[3] if (a.kind, a.offset) == ("write", 0x18)]
    assert [access.value for access in extra] == [1]
    table = pictures.traffic_table(frames[2])
    assert [row[0] for row in table.rows if row[0]] == list("12345")
    names = {"frame_pixels[31:0]", "result_pixels[31:0]", "ISR", "run_error"}
    assert {row[3] for row in table.rows} >= names


def test_recording_ends_with_an_error_too(package):
    with M3ViTOverlay(package) as overlay:
        usual = overlay.driver.port
        with pytest.raises(KeyError), pictures.recorded(overlay.driver):
            raise KeyError
        assert overlay.driver.port is usual
        stream = overlay.stream(itertools.repeat(FRAME, 3))
        next(iter(stream))
        with pytest.raises(RuntimeError, match="in progress"), pictures.recorded(overlay.driver):
            pass
        stream.close()


def test_accesses_are_split_where_the_error_code_is_read():
    error, ctrl = 0x11C, 0x0
    accesses = [
        pictures.Access("write", ctrl, 1), pictures.Access("read", error, 0),
        pictures.Access("poll", ctrl, 0xE), pictures.Access("write", error, 0),
        pictures.Access("read", error, 0), pictures.Access("write", ctrl, 1),
    ]  # fmt: skip
    assert pictures.frames_of(accesses) == [accesses[:2], accesses[2:5]]
    assert pictures.frames_of([]) == []


def test_the_register_table_shows_what_the_hardware_holds(package):
    with M3ViTOverlay(package) as overlay:
        overlay.run(FRAME, TASKS[1])
        before = overlay.device.accesses.copy()
        table = pictures.register_table(overlay.driver)
        on_bus = overlay.device.accesses - before
        board = overlay.board
    values = {row[1]: int(row[2], 16) for row in table.rows}
    assert values["id_magic"] == 0x4D335654 and values["id_abi"] == 2
    assert values["run_task"] == 1 and values["run_error"] == 0
    assert values["cap_half_lines"] == board.half_lines
    assert values["cap_tokens"] == board.max_tokens
    assert values["cap_map_lines"] == board.map_lines
    assert values["frame_bytes"] == 32 * 48 * 3
    assert values["bank_bytes"] == package.bank_bytes
    assert all(row[3] == f"{int(row[2], 16):,}" for row in table.rows)
    assert {kind for _, kind, _ in on_bus} == {"read"}
    assert not any(offset == 0 for _, _, offset in on_bus)  # reading CTRL would clear its bits


# Program


@pytest.mark.parametrize("task", TASKS)
def test_rows_are_the_instructions_of_the_listing(package, task):
    """Against the text of the disassembler and the bytes of the program."""
    lines = disassemble(package, task).splitlines()
    listing = [line for line in lines if line[:4].strip().isdigit()]
    rows = program_rows(package, task)
    assert len(rows) == len(listing) > 40
    for row, line in zip(rows, listing, strict=False):
        pc, opcode, layer = line.split()[:3]
        assert (row.pc, row.instruction.opcode.name, row.layer) == (int(pc), opcode, layer)
        start = isa.INSTRUCTIONS_OFFSET + 64 * row.pc
        assert package.program[start] == row.instruction.opcode
        stated = line.rsplit(", ", 1)[-1].split()[-2:]
        weights = int(stated[0].replace(",", "")) if stated[-1] == "B" else 0
        assert row.weight_bytes == weights


def test_parts_of_the_network(package):
    groups = list(dict.fromkeys(row.group for row in program_rows(package, "segmentation")))
    assert groups == ["input", "block 0", "block 1", "block 2", "block 3", "head"]
    table = pictures.program_table(package, "segmentation", "block 1")
    rows = program_rows(package, "segmentation")
    assert len(table.rows) == sum(row.group == "block 1" for row in rows)
    assert {"GATE", "EXPERTS_UP", "EXPERTS_DOWN"} <= {row[1] for row in table.rows}
    everything = pictures.program_table(package, "segmentation")
    assert len(everything.rows) == len(rows)
    with pytest.raises(ValueError, match="block 0, block 1"):
        pictures.program_table(package, "segmentation", "block 9")
    with pytest.raises(ValueError, match="segmentation, depth"):
        program_rows(package, "normals")


@pytest.mark.parametrize(
    ("instruction", "text"),
    [
        (Instruction(Opcode.LINEAR, rows=5, cols_in=64, cols_out=192), "5 rows: 64 → 192 channels"),
        (
            Instruction(Opcode.LINEAR, rows=5, cols_in=64, cols_out=8, store=isa.Store.SCORES),
            "5 rows: 64 → 8 channels: the router's scores",
        ),
        (
            Instruction(
                Opcode.LINEAR, rows=5, cols_in=64, cols_out=64, activation=isa.Activation.GELU
            ),
            "5 rows: 64 → 64 channels, then GELU",
        ),
        (
            Instruction(Opcode.GATE, rows=25, experts=8, top_k=2),
            "the router's top 2 of 8 experts for each of 25 tokens",
        ),
        (
            Instruction(Opcode.GATE, rows=25, experts=8, top_k=2, per_image=1),
            "the router's top 2 of 8 experts for the whole image",
        ),
        (
            Instruction(Opcode.OUTPUT_CLASSES, height=8, width=12, cols_in=13, factor=2),
            "the largest of 13 classes, map enlarged 2-fold",
        ),
        (
            Instruction(Opcode.LAYERNORM, rows=25, cols_in=64, slots=2),
            "add what the token's 2 experts wrote, then normalise each of 25 tokens",
        ),
        (
            Instruction(
                Opcode.EXPERTS_UP,
                rows=25,
                cols_in=64,
                cols_out=96,
                experts=8,
                top_k=2,
                activation=isa.Activation.GELU,
            ),
            "first layers of 8 experts, 64 → 96, then GELU: each token in the queues of its 2",
        ),
        (
            Instruction(Opcode.EXPERTS_DOWN, rows=25, cols_in=96, cols_out=64, experts=8, top_k=2),
            "second layers of 8 experts, 96 → 64: times the gate's weight, to 2 slots a token",
        ),
        (Instruction(Opcode.END), "stop and raise the interrupt"),
    ],
    ids=lambda value: value.opcode.name if isinstance(value, Instruction) else "",
)
def test_instructions_in_words(instruction, text):
    assert pictures.describe(instruction) == text


def test_every_opcode_has_words_and_a_colour():
    for opcode in Opcode:
        assert pictures.describe(Instruction(opcode))
        assert LOOKS[opcode].colour and LOOKS[opcode].shape(Instruction(opcode)) is not None


def test_the_map_has_a_cell_for_every_instruction(package):
    from matplotlib.patches import Rectangle

    figure = pictures.program_map(package, "depth")
    (axes,) = figure.axes
    cells = [p for p in axes.patches if isinstance(p, Rectangle)]
    rows = program_rows(package, "depth")
    assert len(cells) == len(rows)
    assert [matching(cell) for cell in cells] == [
        LOOKS[row.instruction.opcode].colour for row in rows
    ]
    text = words(figure)
    for opcode in {row.instruction.opcode for row in rows}:
        assert any(t.split("\n")[0] == opcode.name for t in text)
    assert nothing_is_cut_off(figure)


def matching(patch) -> str:
    from matplotlib.colors import to_hex

    return to_hex(patch.get_facecolor())
