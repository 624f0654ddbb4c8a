# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The evaluate command from the files to the report."""

import csv
import json
import shutil

import cv2
import numpy as np
import pytest

from m3vit_pynq import package as package_module
from m3vit_pynq.cli import EXIT_ERROR, EXIT_INTERRUPTED, main
from m3vit_pynq.compiler import compile_checkpoint, random_package
from m3vit_pynq.compiler.build import random_frames
from m3vit_pynq.config import CITYSCAPES_TASKS, TaskConfig, get_config
from m3vit_pynq.evaluation.fourbit import save_checkpoint
from m3vit_pynq.reference.checkpoint import random_checkpoint


@pytest.fixture(scope="session")
def package_file(package39, tmp_path_factory):
    return package39.save(tmp_path_factory.mktemp("package") / "micro39.m3vit")


@pytest.fixture(scope="session")
def checkpoint_file(config39, tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "micro39.npz"
    save_checkpoint(path, config39, random_checkpoint(config39, 3), {})
    return path


def evaluate(root, *arguments):
    return main(["evaluate", "--dataset", "nyuv2", "--root", str(root), *map(str, arguments)])


def test_report_has_what_a_script_asks_for(made_dataset, package_file, tmp_path, capsys):
    out, table = tmp_path / "new" / "report.json", tmp_path / "table.csv"
    assert evaluate(
        made_dataset, "--package", package_file, "--split", "test", "--limit", 3,
        "--json", out, "--csv", table,
    ) == 0  # fmt: skip
    report = json.loads(out.read_text())
    assert report["frames"] == 3 and report["split"] == "test"
    assert report["package"] == "micro39"
    assert report["backend"].startswith("emulated")
    assert report["labels13"] == "label13"
    for key in ("miou39", "miou13", "pixel_accuracy"):
        assert 0 <= report["segmentation"][key] <= 1
    for key in ("rmse", "absrel", "delta1", "log10"):
        assert report["depth"][key] >= 0
    assert len(report["segmentation"]["iou39"]) == 39
    assert len(report["segmentation"]["iou13"]) == 13
    for task in ("segmentation", "depth"):
        costs = report["costs"][task]
        assert costs["routing"] == "measured"
        assert 0 < costs["experts_used"] <= costs["experts"] == 16
        assert costs["dense"]["macs"] > 0
    captured = capsys.readouterr()
    assert "miou39" in captured.out and "3 frames of test" in captured.out
    assert "3/3" in captured.err  # the progress bar
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["package", "split", "frames", "backend", "task", "metric", "value"]
    miou = next(row for row in rows if row["metric"] == "miou39")
    assert float(miou["value"]) == pytest.approx(report["segmentation"]["miou39"], rel=1e-5)


def test_accelerator_and_specification_give_the_same_figures(made_dataset, package_file, tmp_path):
    reports = {}
    for backend in ("emulated", "integer"):
        out = tmp_path / f"{backend}.json"
        arguments = ["--package", package_file, "--backend", backend, "--json", out]
        assert evaluate(made_dataset, *arguments) == 0
        reports[backend] = json.loads(out.read_text())
    assert reports["integer"]["backend"] == "integer"
    for key in ("segmentation", "depth", "costs"):
        assert reports["emulated"][key] == reports["integer"][key]


def test_float_is_close_to_its_integers(made_dataset, config39, tmp_path):
    """The images of the data set calibrate, so that the integers are at their best."""
    checkpoint = random_checkpoint(config39, 3)
    images = [
        cv2.resize(cv2.imread(str(path))[:, :, ::-1], config39.image_size[::-1],
                   interpolation=cv2.INTER_AREA)
        for path in sorted((made_dataset / "image").iterdir())
    ]  # fmt: skip
    package = compile_checkpoint(
        config39, checkpoint, images + random_frames(config39, 4), progress=False
    )
    save_checkpoint(tmp_path / "f.npz", config39, checkpoint, {})
    reports = {}
    for name, arguments in {
        "float": ["--backend", "float", "--checkpoint", tmp_path / "f.npz"],
        "both": [
            "--backend", "float", "--checkpoint", tmp_path / "f.npz",
            "--package", package.save(tmp_path / "f.m3vit"),
        ],
        "integer": ["--backend", "integer", "--package", tmp_path / "f.m3vit"],
    }.items():  # fmt: skip
        assert evaluate(made_dataset, *arguments, "--json", tmp_path / name) == 0
        reports[name] = json.loads((tmp_path / name).read_text())
    assert reports["float"]["backend"] == "float"
    assert reports["float"]["checkpoint"] == "f.npz"
    assert reports["float"]["costs"]["depth"]["routing"] == "measured"
    assert reports["both"]["segmentation"] == reports["float"]["segmentation"]
    exact, integer = reports["float"]["depth"], reports["integer"]["depth"]
    assert exact["rmse"] == pytest.approx(integer["rmse"], rel=0.05)
    assert exact["rmse"] != integer["rmse"]


def test_conditions_are_a_table_and_part_of_the_report(
    made_dataset, package_file, tmp_path, capsys
):
    out = tmp_path / "report.json"
    assert evaluate(
        made_dataset, "--package", package_file, "--limit", 1, "--json", out,
        "--condition", "nearer", "--condition", "mirrored", "--csv", tmp_path / "c.csv",
    ) == 0  # fmt: skip
    report = json.loads(out.read_text())
    assert list(report["conditions"]) == ["mirrored", "nearer"]
    assert set(report["conditions"]["nearer"]) == {"segmentation", "depth"}
    printed = capsys.readouterr()
    lines = [line.split() for line in printed.out.splitlines() if line]
    first = [line[0] for line in lines]
    assert {"condition", "as", "mirrored", "nearer"} <= set(first)
    assert "3/3" in printed.err
    text = (tmp_path / "c.csv").read_text()
    assert text.startswith("package,split,frames,backend,condition,task,metric,value")
    assert ",nearer,depth,rmse," in text


def test_robustness_is_every_condition(made_dataset, package_file, tmp_path):
    out = tmp_path / "report.json"
    arguments = ["--package", package_file, "--limit", 1, "--robustness", "--json", out]
    assert evaluate(made_dataset, *arguments) == 0
    assert len(json.loads(out.read_text())["conditions"]) >= 10


def test_gallery(made_dataset, package_file, tmp_path):
    picture = tmp_path / "pictures" / "gallery.jpg"
    assert evaluate(
        made_dataset, "--package", package_file, "--gallery", picture, "--gallery-rows", 1,
    ) == 0  # fmt: skip
    read = cv2.imread(str(picture))
    assert read.shape[0] > 3 * 200 and read.shape[1] > 5 * 200


def test_a_model_of_13_classes(dataset, package13, tmp_path):
    file = package13.save(tmp_path / "micro.m3vit")
    shutil.rmtree(dataset / "label39")
    assert evaluate(dataset, "--package", file, "--json", tmp_path / "j") == 0
    segmentation = json.loads((tmp_path / "j").read_text())["segmentation"]
    assert set(segmentation) == {"miou13", "pixel_accuracy", "iou13"}


def test_without_official_13_class_labels_the_report_says_so(dataset, package_file, tmp_path):
    shutil.rmtree(dataset / "label13")
    assert evaluate(dataset, "--package", package_file, "--json", tmp_path / "j") == 0
    report = json.loads((tmp_path / "j").read_text())
    assert report["labels13"] == "label39, mapped"
    assert 0 <= report["segmentation"]["miou13"] <= 1


def test_depth_alone(dataset, tmp_path):
    config = get_config("micro", tasks=(TaskConfig("depth", "depth", 1),))
    file = random_package(config).save(tmp_path / "depth.m3vit")
    for folder in ("label13", "label39"):
        shutil.rmtree(dataset / folder)
    assert evaluate(dataset, "--package", file, "--json", tmp_path / "j") == 0
    report = json.loads((tmp_path / "j").read_text())
    assert "segmentation" not in report and "labels13" not in report
    assert report["depth"]["rmse"] > 0


# Bad input: one line, status 2, nothing written.


@pytest.fixture
def outputs(tmp_path):
    folder = tmp_path / "outputs"
    folder.mkdir()
    return folder


def refused(capsys, outputs, root, *arguments):
    """Run with every kind of output; returns the message."""
    status = evaluate(
        root, "--json", outputs / "a.json", "--csv", outputs / "a.csv",
        "--gallery", outputs / "a.jpg", *arguments,
    )  # fmt: skip
    assert status == EXIT_ERROR
    assert list(outputs.iterdir()) == []
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("m3vit-pynq evaluate: ")
    return last


DAMAGE = {
    "image/0003.jpg": (None, "0003.jpg is missing"),
    "depth/0003.png": (np.zeros((24, 32), np.uint8), "0003.png is 32x24, not 640x480"),
    "label39/0003.png": (np.full((480, 640), 77, np.uint8), "0003.png holds class 77"),
    "label13/0002.png": (b"nothing", "0002.png cannot be decoded"),
    "test.txt": (b"", "test.txt is empty"),
}


@pytest.mark.parametrize("file", DAMAGE)
def test_a_damaged_data_set(dataset, package_file, outputs, capsys, file):
    content, message = DAMAGE[file]
    path = dataset / file
    path.unlink()
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        cv2.imwrite(str(path), content)
    assert message in refused(capsys, outputs, dataset, "--package", package_file)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--limit", "9"], "a limit of 9 frames: split test"),
        (["--split", "train"], "train.txt is missing"),
        (["--backend", "float"], "--checkpoint FILE.npz"),
        (["--checkpoint", "x.npz"], "--checkpoint goes with --backend float"),
        (["--backend", "float", "--checkpoint", "x.npz"], "x.npz: no such checkpoint"),
        (["--condition", "upside-down"], "unknown condition 'upside-down'; known: mirrored"),
        (["--board", "zx81"], "unknown board 'zx81'"),
        (["--gallery", "picture.gif"], "picture.gif: a picture's name ends in"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_arguments_that_make_no_sense(
    made_dataset, package_file, outputs, capsys, monkeypatch, arguments, message
):
    monkeypatch.chdir(outputs)
    found = refused(capsys, outputs, made_dataset, "--package", package_file, *arguments)
    assert message in found


def test_no_folder(package_file, outputs, capsys, tmp_path):
    found = refused(capsys, outputs, tmp_path / "nowhere", "--package", package_file)
    assert "nowhere is no folder" in found
    found = refused(capsys, outputs, tmp_path, "--package", package_file)
    assert "not the NYU Depth v2 data set" in found


def test_packages_that_are_not_there(made_dataset, outputs, capsys, monkeypatch):
    assert "no such file" in refused(capsys, outputs, made_dataset, "--package", "x.m3vit")
    monkeypatch.setattr(package_module, "shipped", tuple)
    assert "no package is installed" in refused(capsys, outputs, made_dataset)


def test_a_package_of_another_world(made_dataset, outputs, capsys, tmp_path):
    package = random_package(get_config("micro", tasks=CITYSCAPES_TASKS))
    file = package.save(tmp_path / "street.m3vit")
    found = refused(capsys, outputs, made_dataset, "--package", file)
    assert "label set 'cityscapes19'" in found


def test_a_checkpoint_of_another_shape(
    made_dataset, outputs, capsys, package13, checkpoint_file, tmp_path
):
    file = package13.save(tmp_path / "other.m3vit")
    arguments = ["--backend", "float", "--checkpoint", checkpoint_file, "--package", file]
    found = refused(capsys, outputs, made_dataset, *arguments)
    assert "another shape or other tasks than package" in found


def test_outputs_that_cannot_be_written_are_refused_first(made_dataset, package_file, capsys):
    for option in ("--json", "--csv", "--gallery"):
        path = made_dataset / "test.txt" / "below.jpg"
        assert evaluate(made_dataset, "--package", package_file, option, path) == EXIT_ERROR
        captured = capsys.readouterr()
        assert "cannot be written" in captured.err
        assert "frame/s" not in captured.err  # not a frame was computed


def test_ctrl_c_writes_nothing(made_dataset, package_file, outputs, capsys, monkeypatch):
    def interrupted(self, image, task):
        raise KeyboardInterrupt

    monkeypatch.setattr("m3vit_pynq.evaluation.predictors.BoardPredictor.__call__", interrupted)
    arguments = ["--package", package_file, "--json", outputs / "a.json"]
    assert evaluate(made_dataset, *arguments) == EXIT_INTERRUPTED
    assert list(outputs.iterdir()) == []
