# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""LINEAR, CONV3X3 and LOAD_PATCHES through the machine, against unbounded integers."""

import bigint_spec as spec
import numpy as np
import pytest
import spec_image
from hypothesis import given, settings
from hypothesis import strategies as st

from m3vit_pynq.abi.isa import Activation, Instruction, Opcode, Store

GELU = [(7 * q) % 256 - 128 for q in range(256)]  # any table is possible


def accumulators(a, layer):
    return [
        [spec.wrap27(bias + spec.dot(row, weights)) for weights, bias, _, _ in layer] for row in a
    ]


def requantised(acc, layer, bits):
    return [
        [spec.sat(spec.requant(v, m, s), bits) for v, (_, _, m, s) in zip(row, layer, strict=True)]
        for row in acc
    ]


def activated(rows, activation):
    apply = {
        Activation.NONE: lambda q: q,
        Activation.RELU: lambda q: max(q, 0),
        Activation.GELU: lambda q: spec.gelu_lookup(GELU, q),
    }[activation]
    return [[apply(q) for q in row] for row in rows]


def prepare(rng, rows, cols_in, cols_out, extreme, src_stride):
    layer = spec_image.random_layer(rng, cols_out, cols_in, extreme)
    image = spec_image.Image()
    table = image.table(np.array(GELU, np.int8).tobytes())
    weights = image.layer(layer)
    made = spec_image.machine(image)
    a = rng.choice([-128, 127] if extreme else np.arange(-128, 128), (rows, cols_in)).tolist()
    spec_image.put(made, 2, src_stride, a)
    return made, layer, a, {"weights": weights, "table": table}


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 9),
    cols_in=st.integers(1, 150),
    cols_out=st.integers(1, 70),
    store=st.sampled_from(Store),
    activation=st.sampled_from(Activation),
    planar=st.booleans(),
    extreme=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_linear(rows, cols_in, cols_out, store, activation, planar, extreme, seed):
    rng = np.random.default_rng(seed)
    made, layer, a, where = prepare(rng, rows, cols_in, cols_out, extreme, 4)
    planar = planar and store == Store.ACT8
    if store != Store.ACT8:
        activation = Activation.NONE
    if activation != Activation.GELU:
        where["table"] = 0
    dtype, bits = {
        Store.ACT8: ("<i1", 8), Store.ACT16: ("<i2", 16), Store.RESIDUAL: ("<i2", 16),
        Store.SCORES: ("<i4", 32),
    }[store]  # fmt: skip
    old = rng.integers(-32768, 32768, (rows, cols_out)).tolist()
    if store == Store.RESIDUAL:
        spec_image.put(made, 500, 12, old, "<i2")
    before = spec_image.workspace_of(made).copy()
    made.execute(
        Instruction(
            Opcode.LINEAR, rows=rows, cols_in=cols_in, cols_out=cols_out, src=spec_image.at(2),
            src_stride=4, dst=spec_image.at(500), dst_stride=12, store=store,
            activation=activation, planar=int(planar), **where,
        )
    )  # fmt: skip
    expected = requantised(accumulators(a, layer), layer, bits)
    if store == Store.ACT8:
        expected = activated(expected, activation)
    if store == Store.RESIDUAL:
        expected = [spec.combined(o, [u]) for o, u in zip(old, expected, strict=True)]
    if planar:
        for plane in range(-(-cols_out // 64)):
            part = [row[64 * plane : 64 * (plane + 1)] for row in expected]
            assert spec_image.get(made, 500 + 12 * plane, 1, rows, len(part[0])) == part
    else:
        assert spec_image.get(made, 500, 12, rows, cols_out, dtype) == expected
    assert spec_image.untouched(made, before, (500, 500 + 12 * max(rows, 2)))


def test_all_bytes_of_a_line_take_part():
    """Whatever lies behind the channels meets the image's weights there."""
    image = spec_image.Image()
    weights = image.layer([([1] * 64, 0, 1, 0)])
    made = spec_image.machine(image)
    spec_image.put(made, 0, 1, [[2] * 64])
    made.execute(
        Instruction(
            Opcode.LINEAR, rows=1, cols_in=3, cols_out=1, src=spec_image.at(0), src_stride=1,
            dst=spec_image.at(9), dst_stride=1, weights=weights, store=Store.SCORES,
        )
    )  # fmt: skip
    assert spec_image.get(made, 9, 1, 1, 1, "<i4") == [[128]]


def one_number(weights, bias, mult, shift, a):
    """A LINEAR with a single output, as SCORES."""
    image = spec_image.Image()
    address = image.layer([(weights, bias, mult, shift)])
    made = spec_image.machine(image)
    spec_image.put(made, 0, 1, [a])
    made.execute(
        Instruction(
            Opcode.LINEAR, rows=1, cols_in=len(a), cols_out=1, src=spec_image.at(0), src_stride=1,
            dst=spec_image.at(9), dst_stride=1, weights=address, store=Store.SCORES,
        )
    )  # fmt: skip
    return spec_image.get(made, 9, 1, 1, 1, "<i4")[0][0]


@pytest.mark.parametrize("shift", [0, 64, 128])
def test_a_stored_shift_is_taken_modulo_64(shift):
    assert one_number([1], 5, 3, shift, [2]) == 21


@pytest.mark.parametrize("bias", [2**26 - 1, -(2**26), 2**31 - 1, 12345])
def test_accumulators_wrap_to_27_bits(bias):
    sign = 1 if bias > 0 else -1
    got = one_number([127 * sign] * 4, bias, 1, 1, [127] * 4)
    assert got == spec.rshift(spec.wrap27(bias + sign * 4 * 127 * 127), 1)


@settings(max_examples=15, deadline=None)
@given(
    height=st.integers(1, 5),
    width=st.integers(1, 5),
    cols_in=st.sampled_from([1, 3, 63, 64, 65]),
    cols_out=st.integers(1, 6),
    pad=st.sampled_from([-128, -3, 0, 127]),
    store=st.sampled_from([Store.ACT8, Store.ACT16]),
    extreme=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_conv3x3(height, width, cols_in, cols_out, pad, store, extreme, seed):
    rng = np.random.default_rng(seed)
    padded = -(-cols_in // 64) * 64
    layer = spec_image.random_layer(rng, cols_out, 9 * padded, extreme)
    for weights, *_ in layer:
        for tap in range(9):
            weights[tap * padded + cols_in : (tap + 1) * padded] = [0] * (padded - cols_in)
    image = spec_image.Image()
    address = image.layer(layer)
    made = spec_image.machine(image)
    pixels = rng.integers(-128, 128, (height * width, cols_in)).tolist()
    spec_image.put(made, 1, 3, pixels)
    before = spec_image.workspace_of(made).copy()
    made.execute(
        Instruction(
            Opcode.CONV3X3, height=height, width=width, cols_in=cols_in, cols_out=cols_out,
            src=spec_image.at(1), src_stride=3, dst=spec_image.at(100), dst_stride=2,
            weights=address, store=store, pad=pad,
        )
    )  # fmt: skip
    dtype, bits = ("<i1", 8) if store == Store.ACT8 else ("<i2", 16)
    got = spec_image.get(made, 100, 2, height * width, cols_out, dtype)
    assert spec_image.untouched(made, before, (100, 100 + 2 * height * width))
    for y in range(height):
        for x in range(width):
            acc = []
            for weights, bias, _, _ in layer:
                total = bias
                for ky in range(3):
                    for kx in range(3):
                        inside = 0 <= y + ky - 1 < height and 0 <= x + kx - 1 < width
                        source = pixels[(y + ky - 1) * width + x + kx - 1] if inside else None
                        for c in range(cols_in):
                            value = source[c] if inside else pad
                            total += value * weights[(3 * ky + kx) * padded + c]
                acc.append(spec.wrap27(total))
            assert got[y * width + x] == requantised([acc], layer, bits)[0]


@pytest.mark.parametrize(("height", "width", "patch"), [(8, 12, 4), (3, 3, 1), (14, 28, 14)])
@pytest.mark.parametrize("fill", [None, 0, 255])
def test_load_patches(height, width, patch, fill):
    rng = np.random.default_rng(3)
    frame = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    if fill is not None:
        frame[:] = fill
    made = spec_image.machine()
    made.frame = frame.reshape(-1)
    made.execute(
        Instruction(
            Opcode.LOAD_PATCHES,
            height=height,
            width=width,
            patch=patch,
            dst=spec_image.at(5),
            dst_stride=12,
        )
    )
    columns = width // patch
    got = spec_image.get(made, 5, 12, height // patch * columns, 3 * patch * patch)
    for row, values in enumerate(got):
        gy, gx = divmod(row, columns)
        expected = [
            int(frame[gy * patch + ky, gx * patch + kx, c]) - 128
            for ky in range(patch)
            for kx in range(patch)
            for c in range(3)
        ]
        assert values == expected


@pytest.mark.parametrize("channels", [10, 32, 70])
def test_load_residual(channels):
    rng = np.random.default_rng(4)
    values = rng.integers(-32768, 32768, (3, channels)).tolist()
    image = spec_image.Image()
    image.table(bytes(32))
    table = image.residual(values)
    made = spec_image.machine(image)
    before = spec_image.workspace_of(made).copy()
    made.execute(
        Instruction(
            Opcode.LOAD_RESIDUAL, rows=3, cols_out=channels, table=table, dst=spec_image.at(7),
            dst_stride=13,
        )
    )  # fmt: skip
    assert spec_image.get(made, 7, 13, 3, channels, "<i2") == values
    assert spec_image.untouched(made, before, (7, 7 + 39))
