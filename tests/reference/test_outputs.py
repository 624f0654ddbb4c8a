# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""UPSAMPLE2X and the OUTPUT instructions against unbounded integers and float."""

import bigint_spec as spec
import numpy as np
import pytest
import spec_image
from hypothesis import given, settings
from hypothesis import strategies as st

from m3vit_pynq.abi.isa import Instruction, Opcode
from m3vit_pynq.reference import outputs

SIDES = st.integers(1, 6)


def planes(pixels, height, width, channels):
    """Nested lists image[c][y][x] of a list of pixels."""
    return [
        [[pixels[y * width + x][c] for x in range(width)] for y in range(height)]
        for c in range(channels)
    ]


@settings(max_examples=20, deadline=None)
@given(SIDES, SIDES, st.sampled_from([1, 64, 70]), st.booleans(), st.integers(0, 2**32 - 1))
def test_upsample2x(height, width, channels, extreme, seed):
    rng = np.random.default_rng(seed)
    values = [-128, 127] if extreme else np.arange(-128, 128)
    pixels = rng.choice(values, (height * width, channels)).tolist()
    made = spec_image.machine()
    spec_image.put(made, 3, 2, pixels)
    made.execute(
        Instruction(
            Opcode.UPSAMPLE2X, height=height, width=width, cols_in=channels, src=spec_image.at(3),
            src_stride=2, dst=spec_image.at(200), dst_stride=3,
        )
    )  # fmt: skip
    got = spec_image.get(made, 200, 3, 4 * height * width, channels)
    for c, plane in enumerate(planes(pixels, height, width, channels)):
        for y in range(2 * height):
            for x in range(2 * width):
                expected = spec.rshift(spec.enlarged(plane, 2, y, x), 4)
                assert got[y * 2 * width + x][c] == expected


def test_upsample2x_is_the_formula_with_9_3_3_1():
    m = [[10, -20], [40, 127]]
    image = np.array(m, np.int8)[:, :, None]
    got = outputs.upsample2x(image)[:, :, 0]
    assert got[0, 0] == 10 and got[3, 3] == 127
    # Output (1, 2): near pixel (0, 1), x' = 0, y' = 1.
    assert got[1, 2] == (9 * -20 + 3 * 10 + 3 * 127 + 40 + 8) >> 4


@pytest.mark.parametrize("factor", [1, 2, 4])
@settings(max_examples=10, deadline=None)
@given(
    height=SIDES,
    width=SIDES,
    classes=st.sampled_from([1, 5, 40]),
    wide=st.booleans(),
    kind=st.sampled_from(["normal", "few", "extreme"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_output_classes(factor, height, width, classes, wide, kind, seed):
    rng = np.random.default_rng(seed)
    limit = 32768 if wide else 128
    low, high = {"normal": (-limit, limit), "few": (0, 2), "extreme": (-limit, limit)}[kind]
    values = [-limit, limit - 1] if kind == "extreme" else np.arange(low, high)
    pixels = rng.choice(values, (height * width, classes))
    made = spec_image.machine()
    spec_image.put(made, 3, 2, pixels, "<i2" if wide else "<i1")
    size = factor**2 * height * width
    padded = -(-size // 64) * 64
    made.result = np.full(padded + 5, 99, np.uint8)
    made.execute(
        Instruction(
            Opcode.OUTPUT_CLASSES, height=height, width=width, cols_in=classes,
            src=spec_image.at(3), src_stride=2, wide=int(wide), factor=factor,
        )
    )  # fmt: skip
    assert not made.result[size:padded].any(), "the last line is filled with zeros"
    assert made.result[padded:].tolist() == [99] * 5, "nothing beyond it is written"
    images = planes(pixels.tolist(), height, width, classes)
    got = made.shaped_result()
    assert got.shape == (factor * height, factor * width) and got.dtype == np.uint8
    for y in range(factor * height):
        for x in range(factor * width):
            logits = [spec.enlarged(plane, factor, y, x) for plane in images]
            assert got[y, x] == logits.index(max(logits))


def test_256_classes():
    image = np.zeros((1, 1, 256), np.int8)
    image[0, 0, 255] = 1
    assert outputs.output_classes(image, 4).tolist() == [[255] * 4] * 4


def test_millimetres_of_every_value():
    values = np.arange(-32768, 32768)
    got = outputs.millimetres(values)
    assert got.dtype == np.uint16
    assert got.tolist() == [spec.millimetres(int(v)) for v in values]


def test_millimetres_are_powers_of_two():
    """Half a millimetre, and 4e-5 of the depth from the table and its interpolation."""
    v = np.arange(0, 32768)
    exact = 2.0 ** (v / 2048)
    got = outputs.millimetres(v).astype(float)
    assert (np.abs(got - np.minimum(exact, 65535)) <= 0.5 + 4e-5 * exact).all()
    assert (np.diff(got) >= 0).all(), "monotonic"


@pytest.mark.parametrize("factor", [1, 2, 4])
@settings(max_examples=10, deadline=None)
@given(SIDES, SIDES, st.booleans(), st.integers(0, 2**32 - 1))
def test_output_depth(factor, height, width, extreme, seed):
    rng = np.random.default_rng(seed)
    values = [-32768, 32767] if extreme else np.arange(15000, 30000)
    pixels = rng.choice(values, (height * width, 1))
    made = spec_image.machine()
    spec_image.put(made, 0, 1, pixels, "<i2")
    made.result = np.zeros(-(-2 * factor**2 * height * width // 64) * 64, np.uint8)
    made.execute(
        Instruction(
            Opcode.OUTPUT_DEPTH, height=height, width=width, src=spec_image.at(0), src_stride=1,
            factor=factor,
        )
    )  # fmt: skip
    plane = planes(pixels.tolist(), height, width, 1)[0]
    got = made.shaped_result()
    assert got.dtype == np.uint16
    for y in range(factor * height):
        for x in range(factor * width):
            v = spec.rshift(spec.enlarged(plane, factor, y, x), {1: 2, 2: 4, 4: 6}[factor])
            assert got[y, x] == spec.millimetres(v)
