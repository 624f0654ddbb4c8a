# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Processes of UPSAMPLE2X, OUTPUT_* and LOAD_PATCHES, each alone, streams left empty."""

from __future__ import annotations

import front_bench
import numpy as np
import pytest

from m3vit_pynq.abi.boards import BOARDS
from m3vit_pynq.abi.generate import pow_table
from m3vit_pynq.abi.isa import Instruction, Opcode, lines

SOURCE = "row_processes.cpp"
EMPTY = np.zeros(0, np.uint8)


@pytest.fixture(params=BOARDS)
def board(request):
    return BOARDS[request.param]


def ask(board, name: str, instruction: Instruction, *inputs: np.ndarray) -> list[np.ndarray]:
    bench = front_bench.bench(SOURCE, board.name)
    return bench.ask(name.encode(), instruction.encode(), *inputs)


def upsample(height: int, width: int, cols: int) -> Instruction:
    return Instruction(
        Opcode.UPSAMPLE2X, height=height, width=width, cols_in=cols, src=0,
        src_stride=lines(cols), dst=0, dst_stride=lines(cols),
    )  # fmt: skip


def classes(height: int, width: int, cols: int, factor: int, wide: int = 0) -> Instruction:
    return Instruction(
        Opcode.OUTPUT_CLASSES, height=height, width=width, cols_in=cols, src=0,
        src_stride=lines((1 + wide) * cols), factor=factor, wide=wide,
    )  # fmt: skip


def depth(height: int, width: int, factor: int) -> Instruction:
    return Instruction(
        Opcode.OUTPUT_DEPTH, height=height, width=width, src=0, src_stride=1, factor=factor
    )


def positions(size: int, factor: int) -> list[tuple[int, int, int]]:
    """Near index, far index and weight of the far one for each index of the enlarged axis."""
    found = []
    for place in range(size * factor):
        near, part = divmod(place, factor)
        offset = 2 * part + 1 - factor
        far = near + (offset > 0) - (offset < 0)
        found.append((near, min(max(far, 0), size - 1), abs(offset)))
    return found


MAPS = [(1, 1), (1, 6), (5, 1), (3, 4), (4, 7)]


@pytest.mark.parametrize("height, width", MAPS)
@pytest.mark.parametrize(
    "place, cols, factor, wide",
    [(0, 1, 2, 0), (0, 70, 2, 0), (0, 200, 2, 0), (1, 1, 1, 0), (1, 40, 4, 0), (1, 256, 2, 1),
     (1, 33, 4, 1), (2, 1, 1, 0), (2, 1, 2, 0), (2, 1, 4, 0)],
)  # fmt: skip
def test_neighbours(board, height, width, place, cols, factor, wide):
    make = (
        upsample(height, width, cols), classes(height, width, cols, factor, wide),
        depth(height, width, factor),
    )[place]  # fmt: skip
    bytes_of_pixel = (cols, (1 + wide) * cols, 2)[place]
    size = 64 * lines(bytes_of_pixel)
    used = -(-(size if place == 0 else bytes_of_pixel) // board.port_bytes)
    rng = np.random.default_rng(height * width + cols)
    image = rng.integers(0, 256, (height, width, size // board.port_bytes, board.port_bytes))
    image = image.astype(np.uint8)
    expected = []
    for y, y_far, _ in positions(height, factor):
        for x, x_far, _ in positions(width, factor):
            corners = (image[y, x], image[y, x_far], image[y_far, x], image[y_far, x_far])
            expected.append(np.concatenate(corners, axis=1)[:used])
    found = ask(board, "neighbours", make, image)
    assert sum(out.size for out in found) == found[place].size
    kept = 4 if factor > 1 else 1  # the others have weight 0 then
    shape = (-1, 4, board.port_bytes)
    np.testing.assert_array_equal(
        found[place].reshape(shape)[:, :kept], np.concatenate(expected).reshape(shape)[:, :kept]
    )


def test_neighbours_as_wide_as_the_board_holds(board):
    for width in (board.map_lines, board.map_lines - 1):
        image = np.random.default_rng(1).integers(0, 256, (2, width, 64)).astype(np.uint8)
        found = ask(board, "neighbours", depth(2, width, 1), image)[2]
        nearest = found.reshape(2, width, 4, board.port_bytes)[:, :, 0]
        np.testing.assert_array_equal(nearest, image[:, :, : board.port_bytes])


@pytest.mark.parametrize("cols", [1, 16, 63, 65, 128])
def test_upsample(board, cols):
    height, width = 2, 3
    beats = 4 * height * width * 64 * lines(cols) // board.port_bytes
    corners = np.random.default_rng(cols).integers(-128, 128, (beats, 4, board.port_bytes))
    (found,) = ask(board, "upsample", upsample(height, width, cols), corners.astype(np.int8))
    weights = np.array([9, 3, 3, 1])[:, None]
    expected = ((corners * weights).sum(axis=1) + 8) >> 4
    expected = expected.reshape(4 * height * width, -1)
    expected[:, cols:] = 0
    np.testing.assert_array_equal(found.view(np.int8), expected.reshape(-1))


def blended(corners: np.ndarray, height: int, width: int, factor: int) -> np.ndarray:
    """Weighted sums of [pixels, 4, ...] in the order of the enlarged map."""
    weights = []
    for _, _, rows in positions(height, factor):
        for _, _, columns in positions(width, factor):
            here, side = 2 * factor - rows, 2 * factor - columns
            weights.append((here * side, here * columns, rows * side, rows * columns))
    weights = np.array(weights).reshape(len(weights), 4, *([1] * (corners.ndim - 2)))
    return (corners.astype(np.int64) * weights).sum(axis=1)


@pytest.mark.parametrize("wide", [0, 1])
@pytest.mark.parametrize("factor", [1, 2, 4])
@pytest.mark.parametrize("cols", [1, 15, 16, 40, 256])
@pytest.mark.parametrize("scale", [1, 1 << 15])
def test_classes(board, cols, factor, wide, scale):
    height, width = 2, 3
    kind = "<i2" if wide else "i1"
    lanes = board.port_bytes // (1 + wide)
    used = -(-cols // lanes)
    limit = min(scale, 1 << 15 if wide else 128)
    pixels = height * width * factor**2
    values = np.random.default_rng(cols).integers(-limit, limit, (pixels, used, 4, lanes))
    (found,) = ask(
        board, "classes", classes(height, width, cols, factor, wide), values.astype(kind)
    )
    ordered = values.transpose(0, 2, 1, 3).reshape(pixels, 4, used * lanes)[:, :, :cols]
    expected = blended(ordered, height, width, factor).argmax(axis=1)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_depth(board, factor):
    height, width = 9, 11
    pixels = height * width * factor**2
    corners = np.random.default_rng(factor).integers(-9000, 32768, (pixels, 4))
    corners[:4] = [[32767] * 4, [-32768] * 4, [0] * 4, [-1] * 4]
    words = np.zeros((pixels, 4, board.port_bytes // 2), "<i2")
    words[:, :, 0] = corners
    words[:, :, 1:] = 77  # bytes of other channels
    (found,) = ask(board, "depth", depth(height, width, factor), words)
    area = 4 * factor * factor
    for total, millimetres in zip(
        blended(corners, height, width, factor), found.view("<u2"), strict=True
    ):
        v = max(0, min(32767, (int(total) + area // 2) // area))
        f, r = (v >> 3) & 255, v & 7
        power = pow_table()[f] + (((pow_table()[f + 1] - pow_table()[f]) * r + 4) >> 3)
        shift = 15 - (v >> 11)
        assert millimetres == min(65535, (power + (1 << shift >> 1)) >> shift)


@pytest.mark.parametrize("two_bytes", [False, True])
@pytest.mark.parametrize("height, width", [(1, 1), (8, 8), (3, 43), (1, 65)])
def test_pack_result(board, two_bytes, height, width):
    kind = "<u2" if two_bytes else "u1"
    values = np.random.default_rng(width).integers(0, 1 << 16, height * width).astype(kind)
    make = depth(height, width, 1) if two_bytes else classes(height, width, 9, 1)
    inputs = (EMPTY, values) if two_bytes else (values, EMPTY)
    (found,) = ask(board, "pack_result", make, *inputs)
    expected = np.zeros(64 * lines(values.nbytes), np.uint8)
    expected[: values.nbytes] = values.view(np.uint8)
    np.testing.assert_array_equal(found, expected)


PATCHES = [
    (1, 1, 1), (1, 3, 50), (2, 2, 7), (3, 4, 5), (4, 2, 33), (5, 3, 13), (7, 2, 9), (8, 2, 8),
    (11, 1, 6), (14, 2, 3), (16, 3, 4), (16, 1, 42), (17, 2, 5), (31, 1, 3), (32, 2, 10),
]  # fmt: skip


@pytest.mark.parametrize("patch, strips, columns", PATCHES)
def test_patches(board, patch, strips, columns):
    """Frame rows of any length: strips and pieces start anywhere in a beat."""
    height, width = strips * patch, columns * patch
    frame = np.random.default_rng(patch).integers(0, 256, (height, width, 3)).astype(np.uint8)
    beats = np.full(-(-frame.size // board.port_bytes) * board.port_bytes, 0xEE, np.uint8)
    beats[: frame.size] = frame.reshape(-1)
    make = Instruction(
        Opcode.LOAD_PATCHES, height=height, width=width, patch=patch, dst=0,
        dst_stride=lines(3 * patch**2),
    )  # fmt: skip
    (found,) = ask(board, "patches", make, beats)
    expected = np.zeros((strips, columns, 64 * lines(3 * patch**2)), np.uint8)
    for gy in range(strips):
        for gx in range(columns):
            part = frame[gy * patch : (gy + 1) * patch, gx * patch : (gx + 1) * patch]
            expected[gy, gx, : part.size] = part.reshape(-1) ^ 0x80
    np.testing.assert_array_equal(found, expected.reshape(-1))
