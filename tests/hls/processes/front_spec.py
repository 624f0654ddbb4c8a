# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""What each process of the front half does, in the plainest form, from its contract."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from m3vit_pynq.abi.boards import Board
from m3vit_pynq.abi.isa import Activation, Instruction, Opcode, Store, lines

LINE = 64
CHUNK = np.dtype([("tiles", "<u2"), ("outputs", "<u2"), ("pieces", "<u2"), ("rows", "u1"),
                  ("subs", "u1")])  # fmt: skip
PLACED = np.dtype([("chunk", CHUNK), ("weights", "<u4"), ("beats", "<u4"), ("table", "<u4"),
                   ("tokens", "<u4"), ("results", "<u4"), ("spare", "<u4")])  # fmt: skip
PAIR = np.dtype([("first", "<u4"), ("count", "<u4")])  # Run, Runs
MODES = {Opcode.LINEAR: 0, Opcode.CONV3X3: 1, Opcode.ATTENTION: 2, Opcode.EXPERTS_UP: 3,
         Opcode.EXPERTS_DOWN: 4}  # fmt: skip


def ceil_div(a: int, b: int) -> int:
    return -(-a // b)


@dataclass
class Plan:
    """Shape of a pass on a board."""

    board: Board
    i: Instruction

    @property
    def experts(self) -> bool:
        return self.i.opcode in (Opcode.EXPERTS_UP, Opcode.EXPERTS_DOWN)

    @property
    def attention(self) -> bool:
        return self.i.opcode == Opcode.ATTENTION

    @property
    def rows(self) -> int:
        conv = self.i.opcode == Opcode.CONV3X3
        return self.i.height * self.i.width if conv else self.i.rows

    @property
    def element(self) -> int:
        if self.i.opcode == Opcode.EXPERTS_DOWN:
            return 2
        if self.i.opcode in (Opcode.ATTENTION, Opcode.EXPERTS_UP):
            return 1
        return {Store.ACT8: 1, Store.SCORES: 4}.get(Store(self.i.store), 2)

    @property
    def outputs(self) -> int:
        return self.i.heads * self.i.head_dim if self.attention else self.i.cols_out

    @property
    def row_lines(self) -> int:
        return 1 if self.attention else lines(self.i.cols_in)

    @property
    def k_lines(self) -> int:
        return 9 * self.row_lines if self.i.opcode == Opcode.CONV3X3 else self.row_lines

    @property
    def out_lines(self) -> int:
        return lines(self.element * self.outputs)

    @property
    def dst_stride(self) -> int:
        return self.out_lines if self.experts else self.i.dst_stride

    @property
    def most_groups(self) -> int:
        most = 128 if self.board.half_lines < 2048 else 256
        unit = 16 // self.element
        return min(most, self.board.half_lines // (2 * self.k_lines)) // unit * unit

    def chunk_outputs(self) -> list[int]:
        """Outputs of each chunk of a layer (of an expert)."""
        left, found = self.outputs, []
        if self.attention:
            size = first = 64
        else:
            size = 4 * self.most_groups
            first = size if self.experts else min(4 * self.board.first_groups, size)
        while left > 0:
            found.append(min(left, size if found else first))
            left -= found[-1]
        return found

    def tiles(self, rows: int) -> tuple[int, int]:
        """Tiles, and rows of the last."""
        if rows == 0:
            return 0, 0
        t = self.board.tokens_par
        return ceil_div(rows, t), (rows - 1) % t + 1


def queues(records: np.ndarray, experts: int, top_k: int) -> list[list[tuple[int, int, int]]]:
    """Token, slot and gate of each entry of each queue."""
    found: list[list[tuple[int, int, int]]] = [[] for _ in range(experts)]
    entries = records.view("<u2").reshape(len(records), 8, 4)[:, :top_k, :2].tolist()
    for token, row in enumerate(entries):
        seen = set()
        for place, (expert, gate) in enumerate(row):
            if expert < experts and expert not in seen:
                seen.add(expert)
                before = [e for e, _ in row[:place]]
                slot = sum(e < expert for e, _ in row) + before.count(expert)
                found[expert].append((token, slot, gate))
    return found


def walk(plan: Plan, records: np.ndarray | None):
    """Placed chunks, sources, targets, gates."""
    i, t = plan.i, plan.board.tokens_par
    placed, sources, targets, gates = [], [], [], []
    if plan.experts:
        members = queues(records, i.experts, i.top_k)
    else:
        members = [[(r, 0, 0) for r in range(plan.rows)]]
    position = 0
    for expert, queue in enumerate(members):
        tiles, last = plan.tiles(len(queue))
        column = rows_before = 0
        for number, outputs in enumerate(plan.chunk_outputs()):
            entry = np.zeros((), PLACED)
            chunk = entry["chunk"]
            chunk["tiles"], chunk["rows"], chunk["outputs"] = tiles, last, outputs
            chunk["pieces"] = plan.k_lines * (64 // plan.board.in_par)
            chunk["subs"] = outputs // i.head_dim if plan.attention else 1
            if plan.attention:
                stride = i.src_stride
                entry["weights"] = 4 * (i.src + (i.k_offset + number) * stride)
                entry["table"] = i.src + (i.v_offset + number) * stride
                entry["beats"] = 4 * i.rows
                entry["tokens"] = i.src + number * stride
                entry["results"] = i.dst + number
            else:
                row = 1 + 4 * plan.k_lines
                line = i.weights + expert * i.expert_lines
                entry["weights"] = 4 * line + rows_before * row
                entry["beats"] = ceil_div(outputs, 4) * row
                entry["table"] = i.table + 4 * expert
                columns = column * plan.element // 64
                step = i.dst_stride if i.planar else 1
                if i.opcode == Opcode.EXPERTS_DOWN:
                    entry["tokens"] = i.src + position * plan.row_lines
                    entry["results"] = columns
                elif i.opcode == Opcode.EXPERTS_UP:
                    entry["tokens"] = i.src
                    entry["results"] = i.dst + position * plan.out_lines + columns
                else:
                    entry["tokens"] = i.src
                    entry["results"] = i.dst + columns * step
            placed.append(entry)
            column += outputs
            rows_before += ceil_div(outputs, 4)
            if i.opcode == Opcode.EXPERTS_UP:
                sources += [i.src + token * i.src_stride for token, _, _ in queue]
            if i.opcode == Opcode.EXPERTS_DOWN:
                for token, slot, _ in queue:
                    targets.append(
                        i.dst + ((i.first_slot + slot) * i.rows + token) * plan.out_lines
                    )
                for first in range(0, len(queue), t):
                    of_tile = [gate for _, _, gate in queue[first : first + t]]
                    gates.append(of_tile + [0] * (16 - len(of_tile)))
        position += len(queue)
    return (
        np.array(placed, PLACED), np.array(sources, "<u4"), np.array(targets, "<u4"),
        np.array(gates, "<u2").reshape(-1, 16),
    )  # fmt: skip


def weight_runs(plan: Plan, placed: np.ndarray, part_lines: int) -> list[list[tuple[int, int]]]:
    """First byte and bytes of what each weight reader reads; two a chunk in part 0."""
    found: list[list[tuple[int, int]]] = [[], [], [], []]
    for entry in placed:
        busy = entry["chunk"]["tiles"] != 0
        gelu = busy and plan.i.activation == Activation.GELU
        table = (64 * int(entry["table"]), 256)
        found[0].append(table if gelu else (0, 0))
        for part in range(4):
            first = 16 * int(entry["weights"]) + 64 * part * part_lines
            count = 16 * int(entry["beats"])
            if plan.attention and part == 2:
                first = 64 * int(entry["table"])
            empty = not busy or (plan.attention and part in (1, 3))
            found[part].append((0, 0) if empty else (first, count))
    return found


def chunk_rows(plan: Plan, chunk) -> int:
    if chunk["tiles"] == 0:
        return 0
    return (int(chunk["tiles"]) - 1) * plan.board.tokens_par + int(chunk["rows"])


def token_lines(plan: Plan, chunk, start: int, sources: list[int]) -> list[int]:
    """Lines of the rows of a chunk, in order; takes a chunk's part of `sources`."""
    found = []
    for row in range(chunk_rows(plan, chunk)):
        if plan.i.opcode == Opcode.EXPERTS_UP:
            first = sources.pop(0)
        elif plan.i.opcode == Opcode.EXPERTS_DOWN or plan.attention:
            first = start + row * plan.row_lines
        else:
            first = start + row * plan.i.src_stride
        found += range(first, first + plan.row_lines)
    return found


def result_lines(plan: Plan, chunk, start: int, targets: list[int]) -> list[int]:
    """Lines that a chunk's results go to, in order."""
    t, width = plan.board.tokens_par, ceil_div(int(chunk["outputs"]) * plan.element, 64)
    rows = chunk_rows(plan, chunk)
    found = []
    for tile in range(0, rows, t):
        of_tile = range(tile, min(rows, tile + t))
        if plan.i.planar:
            for line in range(width):
                found += [start + line * plan.dst_stride + row for row in of_tile]
            continue
        if plan.i.opcode == Opcode.EXPERTS_DOWN:
            firsts = [targets.pop(0) + start for _ in of_tile]
        else:
            firsts = [start + row * plan.dst_stride for row in of_tile]
        for segment in range(0, width, 16):
            for first in firsts:
                found += range(first + segment, first + min(width, segment + 16))
    return found


def words(board: Board, rows: list[np.ndarray]) -> bytes:
    """Words of a half engine from the rows of its two parts, [group, bytes] each."""
    even, odd = (r.reshape(len(r), -1, board.in_par) for r in rows)
    return np.stack([even, odd], axis=2).tobytes()


def neighbourhoods(plan: Plan, pixels: np.ndarray) -> np.ndarray:
    """[pixel, bytes] -> [pixel, 9 * bytes]."""
    i = plan.i
    image = pixels.reshape(i.height, i.width, -1)
    found = np.full((i.height, i.width, 9, image.shape[2]), i.pad & 0xFF, np.uint8)
    for y in range(i.height):
        for x in range(i.width):
            for k in range(9):
                ny, nx = y + k // 3 - 1, x + k % 3 - 1
                if 0 <= ny < i.height and 0 <= nx < i.width:
                    found[y, x, k] = image[ny, nx]
    return found.reshape(i.height * i.width, -1)


def split(plan: Plan, chunk, rows: np.ndarray) -> bytes:
    """[valid row, bytes] -> pieces for engine A."""
    t = plan.board.tokens_par
    tiles, subs = int(chunk["tiles"]), int(chunk["subs"]) if plan.attention else 1
    padded = np.zeros((tiles * t, rows.shape[1]), np.uint8)
    padded[: len(rows)] = rows
    found = np.repeat(padded.reshape(tiles, 1, t, rows.shape[1]), subs, axis=1)
    if plan.attention:
        for head in range(subs):
            keep = np.arange(64) // plan.i.head_dim == head
            found[:, head, :, ~keep] = 0
    return found.tobytes()
