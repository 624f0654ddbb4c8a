# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The kernel tops as synthesised (``__SYNTHESIS__``), each against exact arithmetic."""

from __future__ import annotations

import ctypes
import math
import subprocess
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from m3vit_pynq.abi import isa
from m3vit_pynq.abi.boards import DEFAULT_BOARD, LINE, get_board
from m3vit_pynq.emulator.hostbuild import find_compiler

HLS = Path(__file__).resolve().parents[2] / "hls_src"
RNG = np.random.default_rng(5)


def rounded(numerator: int, denominator: int) -> int:
    """Quotient to nearest, halves towards +infinity."""
    return math.floor(Fraction(numerator, denominator) + Fraction(1, 2))


def clamp(x: int, bits: int) -> int:
    return max(-(1 << (bits - 1)), min((1 << (bits - 1)) - 1, x))


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    target = tmp_path_factory.mktemp("kernels") / "kernels.so"
    subprocess.run(
        [find_compiler(), "-std=c++14", "-O1", "-shared", "-fPIC", "-D__SYNTHESIS__",
         "-Wno-unknown-pragmas", "-Wno-unused-label", str(HLS / "kernels.cpp"), "-o", str(target)],
        check=True, timeout=120,
    )  # fmt: skip
    return ctypes.CDLL(str(target))


def call(function, *arguments):
    """Pass arrays as pointers, everything else as it is."""
    converted = [
        ctypes.c_void_p(a.ctypes.data) if isinstance(a, np.ndarray) else a for a in arguments
    ]
    return function(*converted)


def test_requantise_line(kernels):
    acc = RNG.integers(-(1 << 31), 1 << 31, LINE).astype(np.int32)
    bias = RNG.integers(-(1 << 31), 1 << 31, LINE).astype(np.int32)
    mult = RNG.integers(0, 1 << 16, LINE).astype(np.uint16)
    shift = np.arange(LINE).astype(np.uint8) + np.uint8(64)  # taken modulo 64
    out = np.zeros(LINE, dtype=np.int32)
    call(kernels.m3vit_kernel_requantise_line, acc, bias, mult, shift, out)
    for j in range(LINE):
        total = (int(acc[j]) + int(bias[j]) + (1 << 31)) % (1 << 32) - (1 << 31)
        assert out[j] == clamp(rounded(total * int(mult[j]), 1 << j), 32)


def test_activate_line(kernels):
    value = RNG.integers(-300, 300, LINE).astype(np.int32)
    table = RNG.integers(-128, 128, 256).astype(np.int8)
    out = np.zeros(LINE, dtype=np.int8)
    expected = [clamp(int(v), 8) for v in value]
    call(kernels.m3vit_kernel_activate_line, value, 0, table, out)
    assert out.tolist() == expected
    call(kernels.m3vit_kernel_activate_line, value, 1, table, out)
    assert out.tolist() == [max(0, v) for v in expected]
    call(kernels.m3vit_kernel_activate_line, value, 2, table, out)
    assert out.tolist() == [table[v + 128] for v in expected]


def test_square_root(kernels):
    root = kernels.m3vit_kernel_square_root
    root.restype = ctypes.c_uint32
    values = [1 << 62, (1 << 62) + 1, (1 << 64) - 1, (1 << 64) - (1 << 32)]
    values += [int(r) ** 2 - d for r in RNG.integers(1 << 31, 1 << 32, 50) for d in (0, 1)]
    for value in values:
        assert root(ctypes.c_uint64(value)) == math.isqrt(value)


def test_layernorm_row(kernels):
    n = 100
    x, gamma = (RNG.integers(-32768, 32768, 1024).astype(np.int16) for _ in range(2))
    beta = RNG.integers(-(1 << 20), 1 << 20, 1024).astype(np.int32)
    y = np.zeros(1024, dtype=np.int8)
    call(kernels.m3vit_kernel_layernorm_row, x, n, gamma, beta, ctypes.c_uint64(7), 23, y)
    row = [int(v) for v in x[:n]]
    mean = Fraction(sum(row), n)
    deviation = math.sqrt(sum((v - mean) ** 2 for v in row) / n)
    for c in range(n):
        exact = (float(row[c] - mean) / deviation * int(gamma[c]) * 2**14 + int(beta[c])) / 2**23
        assert abs(int(y[c]) - max(-128, min(127, exact))) < 0.51
    assert not y[n:].any()


def test_softmax_block_and_finish(kernels):
    keys, head_dim = 41, 64
    products = RNG.integers(-20000, 20000, LINE).astype(np.int32)
    values = RNG.integers(-128, 128, (keys, head_dim))
    maximum, total = np.array([-128], np.int16), np.zeros(1, np.int32)
    high, low = np.zeros(LINE, np.uint8), np.zeros(LINE, np.uint8)
    call(kernels.m3vit_kernel_softmax_block, products, keys, 40000, 21, maximum, total, high, low)
    p = (high.astype(int) - 128) * 64 + low.astype(int) - 128
    score = products[:keys] * 40000 / 2**21 / 256  # log2
    assert maximum[0] == math.ceil(score.max() - 1e-9)
    assert not p[keys:].any() and p.sum() == total[0]
    np.testing.assert_allclose(p[:keys], 4096 * 2.0 ** (score - maximum[0]), atol=8)
    parts = [
        ((part.astype(int)[:keys] - 128) @ values).astype(np.int32) for part in (high, low)
    ]  # fmt: skip
    mixed = np.full(head_dim, 999, dtype=np.int32)
    call(kernels.m3vit_kernel_accumulate_values, *parts, 1, 0, mixed)
    assert mixed.tolist() == (p[:keys] @ values).tolist()
    call(kernels.m3vit_kernel_accumulate_values, *parts, 0, 3, mixed)
    once = p[:keys] @ values
    assert mixed.tolist() == [rounded(int(o), 8) + int(o) for o in once]
    out = np.zeros(head_dim, dtype=np.int8)
    mixed[:] = once
    call(kernels.m3vit_kernel_finish_query, mixed, int(total[0]), 32768, 31, out)
    np.testing.assert_allclose(out, once / total[0], atol=0.51)


def test_matrix_group(kernels):
    board = get_board(DEFAULT_BOARD)  # what config.h takes by default
    tokens_par, lines = board.tokens_par, 3
    tokens = np.zeros((tokens_par, isa.MAX_COLS // LINE, LINE), dtype=np.uint8)
    key_and_value_lines = (isa.KEY_BLOCK + isa.MAX_HEAD_DIM) // 4
    tile_lines = board.weight_tile_beats // 4 + key_and_value_lines
    weights = np.zeros((4, tile_lines, LINE), dtype=np.int8)
    a = RNG.integers(-128, 128, (tokens_par, lines * LINE))
    w = RNG.integers(-128, 128, (4, lines * LINE))
    tokens[:, :lines] = (a + 128).reshape(tokens_par, lines, LINE)
    weights[:, :lines] = w.reshape(4, lines, LINE)
    acc = np.zeros((tokens_par, 4), dtype=np.int32)
    call(kernels.m3vit_kernel_matrix_group, tokens, weights, lines, acc)
    assert acc.tolist() == (a @ w.T).tolist()


@pytest.mark.parametrize("over_all", [0, 1])
def test_gate_token(kernels, over_all):
    experts, top_k = 11, 3
    logits = RNG.integers(-(1 << 18), 1 << 18, 64).astype(np.int32)
    logits[7] = logits[3]
    chosen, gates = np.zeros(8, np.uint16), np.zeros(8, np.uint16)
    call(kernels.m3vit_kernel_gate_token, logits, experts, top_k, over_all, chosen, gates)
    order = sorted(range(experts), key=lambda e: (-logits[e], e))[:top_k]
    assert chosen[:top_k].tolist() == order
    power = 2.0 ** (logits[:experts] / 65536.0)
    total = power.sum() if over_all else power[order].sum()
    np.testing.assert_allclose(gates[:top_k] / 65536, power[order] / total, atol=2e-3)
    assert not gates[top_k:].any()


def test_upsample_pixel(kernels):
    corners = RNG.integers(-128, 128, (4, LINE)).astype(np.int8)
    out = np.zeros(LINE, dtype=np.int8)
    call(kernels.m3vit_kernel_upsample_pixel, *corners, out)
    weights = (9, 3, 3, 1)
    for c in range(LINE):
        total = sum(w * int(v) for w, v in zip(weights, corners[:, c], strict=True))
        assert out[c] == rounded(total, 16)


def test_largest_channel(kernels):
    near, far = RNG.integers(-9, 9, (2, LINE)).astype(np.int32)
    largest = np.zeros(1, np.int32)
    for factor, position, weights in [(1, 0, (2, 0)), (2, 1, (3, 1)), (4, 0, (5, 3))]:
        blended = (weights[0] * near + weights[1] * far)[:50]
        index = call(
            kernels.m3vit_kernel_largest_channel, near, far, position, factor, 50, largest
        )  # fmt: skip
        assert (index, largest[0]) == (int(np.argmax(blended)), blended.max())


def test_depth_pixel(kernels):
    depth = kernels.m3vit_kernel_depth_pixel
    depth.restype = ctypes.c_uint16
    for v in [*range(0, 32768, 97), 32767]:
        assert abs(depth(v) - min(65535, 2 ** (v / 2048))) <= 0.51 + 2 ** (v / 2048) / 30000
    assert depth(-5) == 1
    assert depth(100000) == depth(32767)
