# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The evaluate command on a small data set in the NYU layout."""

import json

import cv2
import numpy as np
import pytest

from m3vit_pynq.cli import main
from m3vit_pynq.compiler import random_package
from m3vit_pynq.config import get_config
from m3vit_pynq.evaluation.nyuv2 import DatasetError, FolderDataset
from m3vit_pynq.evaluation.runner import evaluate


@pytest.fixture
def dataset(tmp_path):
    """Three frames; labels of 13 classes in stripes, depth a ramp."""
    rng = np.random.default_rng(5)
    for folder in ("image", "label13", "depth"):
        (tmp_path / folder).mkdir()
    for index in range(3):
        name = f"{index:04d}"
        image = rng.integers(0, 256, (60, 80, 3), np.uint8)
        image = cv2.resize(image, (640, 480), interpolation=cv2.INTER_CUBIC)
        label = np.tile((np.arange(640) // 50 % 13).astype(np.uint8), (480, 1))
        label[:10] = 255
        depth = np.tile(np.linspace(20, 200, 640).astype(np.uint8), (480, 1))
        cv2.imwrite(str(tmp_path / "image" / f"{name}.jpg"), image)
        cv2.imwrite(str(tmp_path / "label13" / f"{name}.png"), label)
        cv2.imwrite(str(tmp_path / "depth" / f"{name}.png"), depth)
    (tmp_path / "test.txt").write_text("0000\n0001\n0002\n")
    return tmp_path


@pytest.fixture(scope="module")
def package():
    return random_package(get_config("micro"))


def test_perfect_predictions_score_perfectly(dataset, package):
    frames = list(FolderDataset(dataset, "test", "nyud13"))
    by_image = {frame.image.tobytes(): frame for frame in frames}

    def oracle(image, task):
        frame = by_image[image.tobytes()]
        if task == "depth":
            return np.rint(frame.metres * 1000).astype(np.uint16)
        return np.where(frame.label == 255, 0, frame.label).astype(np.uint8)

    report = evaluate(package, frames, oracle, progress=False)
    assert report["frames"] == 3
    assert report["segmentation"]["miou13"] == 1.0
    assert report["depth"]["rmse"] < 1e-3
    assert report["depth"]["delta1"] == 1.0


def test_accelerator_and_specification_give_the_same_figures(dataset, package, tmp_path):
    path = package.save(tmp_path / "micro.m3vit")
    reports = {}
    for backend in ("emulated", "integer"):
        out = tmp_path / f"{backend}.json"
        arguments = ["--package", str(path), "--root", str(dataset), "--backend", backend]
        files = ["--json", str(out), "--csv", str(tmp_path / "figures.csv")]
        assert main(["evaluate", *arguments, *files]) == 0
        reports[backend] = json.loads(out.read_text())
    for task in ("segmentation", "depth"):
        assert reports["emulated"][task] == reports["integer"][task]
    assert reports["emulated"]["backend"].startswith("emulated")
    assert (tmp_path / "figures.csv").read_text().startswith("package,split,frames,backend,task")


def test_a_missing_file_is_named(dataset):
    (dataset / "depth" / "0001.png").unlink()
    with pytest.raises(DatasetError, match=r"0001\.png is missing"):
        list(FolderDataset(dataset, "test", "nyud13"))


def test_a_label_out_of_range_is_named(dataset):
    path = dataset / "label13" / "0002.png"
    label = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    label[5, 5] = 13
    cv2.imwrite(str(path), label)
    with pytest.raises(DatasetError, match="holds class 13"):
        list(FolderDataset(dataset, "test", "nyud13"))


def test_a_folder_that_is_no_data_set_ends_in_one_line(tmp_path, capsys):
    assert main(["evaluate", "--root", str(tmp_path)]) == 2
    assert "not the NYU Depth v2 data set" in capsys.readouterr().err
