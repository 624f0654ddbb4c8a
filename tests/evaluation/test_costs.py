# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Costs of a frame against what the model's shape says."""

import dataclasses

import pytest
from shape_arithmetic import encoder_macs, head_macs

from m3vit_pynq.abi.isa import Opcode
from m3vit_pynq.analysis.costs import (
    every_expert_macs,
    layer_names,
    mixture_of,
    mixtures,
    narrow_expert_bytes,
    single_expert,
    task_costs,
)
from m3vit_pynq.analysis.workload import EXPERTS
from m3vit_pynq.compiler import made_up_package
from m3vit_pynq.config import get_config
from m3vit_pynq.evaluation.costs import cost_report
from m3vit_pynq.evaluation.runner import ExpertUsage


@pytest.fixture(scope="module")
def micro():
    return get_config("micro")


def test_arithmetic_is_that_of_the_shape(micro):
    report = cost_report(micro)
    for task in micro.tasks:
        entry = report[task.name]
        head = head_macs(micro, task.outputs)
        assert entry["macs"] == encoder_macs(micro, micro.top_k) + head
        assert entry["head_macs"] == head
        assert entry["every_expert_macs"] == encoder_macs(micro, micro.experts) + head
        dense = dataclasses.replace(micro, moe_blocks=())
        assert entry["dense"]["macs"] == encoder_macs(dense, 0) + head
        assert entry["routing"] == "worst case"
        assert entry["experts_used"] == entry["experts"] == 16
    everything = report["all_tasks"]
    heads = [head_macs(micro, task.outputs) for task in micro.tasks]
    dense = encoder_macs(dataclasses.replace(micro, moe_blocks=()), 0)
    assert everything["macs"] == 2 * encoder_macs(micro, micro.top_k) + sum(heads)
    assert everything["dense_shared_encoder_macs"] == dense + sum(heads)
    assert everything["dense_network_per_task_macs"] == 2 * dense + sum(heads)


def test_weights_follow_the_experts_that_are_used(micro):
    usage = ExpertUsage()
    usage.add("depth", {"blocks.1": 3, "blocks.3": 5})
    usage.add("depth", {"blocks.1": 4, "blocks.3": 6})
    worst, measured = cost_report(micro)["depth"], cost_report(micro, usage=usage)["depth"]
    assert measured["routing"] == "measured"
    assert measured["experts_used"] == 9.0
    # An expert of 64 -> 96 -> 64: 16-byte parameters and whole lines of 64 a row, 256 of table.
    one = 96 * (16 + 64) + 64 * (16 + 128) + 256
    assert worst["expert_bytes"] == 16 * one
    assert measured["expert_bytes"] == 9 * one
    assert worst["weight_bytes"] - measured["weight_bytes"] == 7 * one
    assert worst["parameters"] - measured["parameters"] == 7 * (2 * 64 * 96 + 96 + 64)
    assert measured["macs"] == worst["macs"]
    # Four bits halve the lines and leave the parameters and the table.
    narrow = 96 * (16 + 32) + 64 * (16 + 64) + 256
    saved = measured["weight_bytes"] - measured["weight_bytes_4bit_experts"]
    assert saved == 9 * (one - narrow)


def test_a_block_that_nothing_is_known_about_counts_as_the_worst_case(micro):
    package = made_up_package(micro)
    names = layer_names(package.decoded, package.metadata["layers"])
    partly = task_costs(package.decoded, 0, names, "segmentation", {"blocks.1": 2.0})
    assert partly.experts_used == 2 + 8
    assert not partly.measured


def test_a_dense_model_has_no_experts_to_count():
    config = get_config("micro", moe_blocks=())
    entry = cost_report(config)["segmentation"]
    assert entry["macs"] == encoder_macs(config, 0) + head_macs(config, 13)
    assert "experts_used" not in entry and "dense" not in entry


def test_a_shape_that_no_board_can_run_has_no_costs():
    assert cost_report(get_config("micro", embed_dim=66, heads=2)) == {}


def test_few_tokens_cannot_use_every_expert():
    config = get_config("micro", image_size=(8, 8), experts=16, top_k=2)
    entry = cost_report(config)["depth"]
    assert config.tokens == 2
    assert entry["experts_used"] == 2 * 2 * 2 and entry["experts"] == 32


def test_layers_and_instructions_of_mixtures(micro):
    package = made_up_package(micro)
    names = layer_names(package.decoded, package.metadata["layers"])
    found = mixtures(package.decoded, 1, names)
    assert list(found.values()) == ["blocks.1", "blocks.1", "blocks.3", "blocks.3"]
    opcodes = [package.decoded.instructions[pc].opcode for pc in found]
    assert opcodes == [Opcode.EXPERTS_UP, Opcode.EXPERTS_DOWN] * 2
    assert mixture_of("blocks.11.experts.1.up") == "blocks.11"
    unnamed = layer_names(package.decoded, None)
    assert unnamed[3] == "instruction 3" and len(set(unnamed)) == len(unnamed)


def test_eight_bits_are_the_layout_that_exists(micro):
    package = made_up_package(micro)
    experts = [i for i in package.decoded.instructions if i.opcode in EXPERTS]
    assert {i.opcode for i in experts} == set(EXPERTS)
    for i in experts:
        assert narrow_expert_bytes(i, 8) == single_expert(i).weight_bytes
    assert every_expert_macs(package.decoded, 0) == encoder_macs(micro, 8) + head_macs(micro, 13)
