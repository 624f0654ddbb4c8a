# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The rules against what yosys infers, form by form; results in benchmarks/results/yosys.csv."""

from __future__ import annotations

import csv
from datetime import date
from pathlib import Path

import pytest

from .forms import FAMILIES, MEMORIES, PRODUCTS
from .run import measure, version

RESULTS = Path(__file__).resolve().parents[3] / "benchmarks" / "results" / "yosys.csv"
COLUMNS = ("date", "yosys", "family", "form", "resource", "rule", "yosys_count", "yosys_lut")
#: How far a rule for LUT may lie below yosys, which never puts two functions into one LUT.
SLACK = 0.8
#: yosys has no cascades and adds every row of a product in LUT on its own.
PLAIN = 0.3


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Blocks by family and form; written to the results when all are there."""
    folder = tmp_path_factory.mktemp("yosys")
    found, rows = {}, []
    for family in FAMILIES:
        fabric = [f for f in PRODUCTS if f.name.startswith("fabric")]
        for group in (MEMORIES, [f for f in PRODUCTS if f not in fabric], fabric):
            forms = [f for f in group if family in f.rule]
            blocks = measure(forms, family, folder)
            for form in forms:
                found[family, form.name] = blocks[form.name]
                rows.append(
                    (
                        date.today().isoformat(), version(folder), family, form.name,
                        form.resource, f"{form.rule[family]:g}",
                        f"{blocks[form.name][form.resource]:g}", f"{blocks[form.name]['lut']:g}",
                    )
                )  # fmt: skip
    with RESULTS.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows)
    return found


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("form", [*MEMORIES, *PRODUCTS], ids=lambda form: form.name)
def test_rule_against_yosys(measured, form, family):
    if family not in form.rule:
        pytest.skip("the family has no such block")
    rule, counted = form.rule[family], measured[family, form.name][form.resource]
    if form.exact:
        assert rule == counted
    elif form.resource == "lut":
        assert rule >= counted * (PLAIN if form.name.startswith("fabric") else SLACK)
        assert rule <= counted * 1.3
    else:
        assert rule >= counted
