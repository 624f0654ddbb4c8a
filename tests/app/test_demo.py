# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The demo end to end, and its parts."""

import dataclasses
import json
import threading

import cv2
import numpy as np
import pytest
from made_cycles import made_cycles

from m3vit_pynq.abi.boards import BOARDS
from m3vit_pynq.bench.cycles import count_cycles
from m3vit_pynq.demo import DemoSettings, run_demo, scene_warning
from m3vit_pynq.demo.runner import _Beside
from m3vit_pynq.demo.sheet import Row, contact_sheet
from m3vit_pynq.demo.video import VideoError, VideoFile
from m3vit_pynq.emulator.hostbuild import BuildError
from m3vit_pynq.errors import SourceError
from m3vit_pynq.overlay import M3ViTOverlay
from m3vit_pynq.sources import Source, Synthetic, open_source


def read_video(path):
    capture = cv2.VideoCapture(str(path))
    frames = []
    while True:
        ok, frame = capture.read()
        if not ok:
            return frames
        frames.append(frame)


@pytest.fixture(scope="module")
def finished(package, folder, tmp_path_factory):
    """One run of the demo: 13 frames, the task changing every 3."""
    out = tmp_path_factory.mktemp("demo")
    done = []
    with open_source(folder) as source, M3ViTOverlay(package) as overlay:
        settings = DemoSettings(frames=13, switch_every=3, out=out, sheet_rows=2)
        report = run_demo(overlay, source, settings, done.append)
    assert done == list(range(1, 14))
    return report, out


def test_the_report_has_all_figures(finished):
    report, _ = finished
    data = json.loads(json.dumps(report.to_dict()))
    assert data["frames"] == 13
    assert data["frames_lost"] == 0
    assert data["fps"] > 0
    assert set(data["stages_ms"]) == {
        "capture", "resize", "device", "wait", "post-process", "draw", "write"
    }  # fmt: skip
    assert all(value >= 0 for value in data["stages_ms"].values())
    assert data["versions"]["pynq"]
    assert data["package"] == "micro"
    assert data["emulated"] is True
    assert data["warning"].startswith("random weights")


def test_tasks_switch_as_often_as_asked_and_no_frame_is_lost(finished):
    report, _ = finished
    # Asked for after 3, 6, 9 and 12 results; one frame is in flight each time,
    # so the last request finds no frame any more.
    assert [(s.frame, s.task) for s in report.switches] == [
        (4, "depth"), (7, "segmentation"), (10, "depth")
    ]  # fmt: skip
    assert all(s.delay_frames == 1 for s in report.switches)
    assert report.registers_per_frame <= 8
    assert report.registers_per_switch_frame == report.registers_per_frame + 1


def test_cycles_are_not_counted_and_the_report_says_so(finished, package):
    """No figure where nothing was counted: not 0, and none of an older count."""
    report, _ = finished
    data = json.loads(json.dumps(report.to_dict()))
    assert data["does_not_fit"] == {}
    assert data["cycles_per_frame"] == {
        name: dict.fromkeys(package.task_names) for name in BOARDS
    }  # fmt: skip
    assert data["cycles"] == "not counted"
    assert data["first_frame_after_switch_ratio"] is None
    assert all(switch["cycles_ratio"] is None for switch in data["switches"])
    lines = report.table().splitlines()
    assert sum("fits; cycles are not counted" in line for line in lines) == len(BOARDS)
    assert any("first / steady" in line and "not counted" in line for line in lines)


def test_counted_cycles_would_be_shown(finished, package):
    """Made-up records: what a count has to fill."""
    report, _ = finished
    counted = dataclasses.replace(report, boards={"kv260": made_cycles(package, "kv260")})
    data, frames = counted.to_dict(), counted.boards["kv260"].tasks
    assert data["cycles_per_frame"] == {"kv260": {name: f.total for name, f in frames.items()}}
    assert data["cycles"] is None
    assert f"({frames['depth'].total / 225e3:.1f} ms)" in counted.table()


def test_the_video_reads_back_with_every_frame(finished):
    report, out = finished
    frames = read_video(report.files["video"])
    assert len(frames) == 13
    assert str(out) in report.files["video"]
    # Left half: the photograph. Right half: the result.
    height, width = frames[0].shape[:2]
    assert (height % 2, width % 2) == (0, 0)
    assert np.any(frames[0][:, : width // 2] != frames[0][:, width // 2 :])


def test_the_contact_sheet_shows_every_task(finished, package):
    report, _ = finished
    sheet = cv2.imread(report.files["contact sheet"])
    assert sheet.shape[1] > 2.5 * 400
    assert sheet.shape[0] > 2 * 300


def test_the_table_names_what_was_measured(finished):
    report, _ = finished
    table = report.table()
    for words in ("13 (0 lost)", "frames per second", "registers per frame", "task switches",
                  "ZCU104", "PYNQ-Z2", "demo."):  # fmt: skip
        assert words in table


def test_a_short_source_ends_the_demo_early(package, folder, tmp_path):
    class Three(Synthetic):
        def _next_frame(self):
            if self._index == 3:
                raise StopIteration
            return super()._next_frame()

    with M3ViTOverlay(package) as overlay:
        report = run_demo(overlay, Three(), DemoSettings(frames=50, out=tmp_path, boards=False))
        assert report.frames == 3
        assert report.boards == {}

        class Empty(Synthetic):
            def _next_frame(self):
                raise StopIteration

        with pytest.raises(SourceError, match="before its first frame"):
            run_demo(overlay, Empty(), DemoSettings(out=tmp_path))


def test_a_source_that_fails_leaves_the_overlay_usable(package, tmp_path):
    class Unplugged(Synthetic):
        def _next_frame(self):
            if self._index == 2:
                raise SourceError("camera 0: no frame for 3 s")
            return super()._next_frame()

    frame = next(Synthetic())
    with M3ViTOverlay(package) as overlay:
        before = overlay.run(frame, "depth").data
        with pytest.raises(SourceError, match="no frame"):
            run_demo(overlay, Unplugged(), DemoSettings(out=tmp_path, boards=False))
        np.testing.assert_array_equal(overlay.run(frame, "depth").data, before)


def test_a_package_too_large_for_a_board_is_reported_with_the_number(package):
    small = dataclasses.replace(BOARDS["zcu104"], half_lines=3)
    found = count_cycles(small, package, next(Synthetic()))
    assert found.tasks == {}
    assert found.problem == f"half_lines = {package.requirements['half_lines']}, it has 3"


@pytest.mark.parametrize(
    ("metadata", "kind", "scene", "expected"),
    [
        ({"scenes": ["indoor"]}, "video", "street", "street scene, but trained on indoor scenes"),
        ({"scenes": ["indoor"]}, "camera", "indoor", ""),
        ({"scenes": ["indoor"]}, "video", "unknown", ""),
        ({}, "video", "street", "street scene, but trained on indoor scenes"),  # NYUD classes
        ({"scenes": ["street"]}, "video", "street", ""),
        ({"scenes": []}, "video", "street", ""),
        ({"scenes": ["indoor"]}, "synthetic", "unknown", "not a real scene"),
        ({"random": True, "scenes": ["indoor"]}, "camera", "indoor", "random weights"),
    ],
)
def test_scenes_the_weights_have_not_seen(package, metadata, kind, scene, expected):
    source = Synthetic()
    source.kind, source.scene = kind, scene
    warning = scene_warning(dataclasses.replace(package, metadata=metadata), source)
    assert expected in warning
    assert bool(warning) == bool(expected)


def test_every_source_says_what_it_shows():
    assert Source.kind == "unknown"
    assert Synthetic().scene == "unknown"


# Video files


def test_a_codec_that_is_missing_is_replaced(tmp_path, capfd):
    picture = np.full((64, 96, 3), 90, np.uint8)
    with VideoFile(tmp_path / "a.mp4", 5, [("zzzz", ".mp4"), ("MJPG", ".avi")]) as video:
        for _ in range(4):
            video.write(picture)
    video.verify()
    assert video.path == tmp_path / "a.avi"
    assert len(read_video(video.path)) == 4


def test_video_errors(tmp_path):
    picture = np.zeros((64, 96, 3), np.uint8)
    with pytest.raises(VideoError, match="tried zzzz"):
        VideoFile(tmp_path / "a.mp4", 5, [("zzzz", ".mp4")]).write(picture)
    with pytest.raises(VideoError, match="cannot be written"):
        VideoFile(tmp_path / "missing" / "a.mp4", 5).write(picture)
    with VideoFile(tmp_path / "b.mp4", 5) as video:
        video.write(picture)
        with pytest.raises(VideoError, match="the first was"):
            video.write(picture[:32])
    video.frames += 1
    with pytest.raises(VideoError, match="1 of 2 frames"):
        video.verify()


# Contact sheet


def test_the_sheet_holds_each_frame_and_result(package):
    frame = np.random.default_rng(1).integers(0, 255, (300, 400, 3), dtype=np.uint8)
    ids = np.zeros((32, 48), np.uint8)
    depth = np.full((32, 48), 2000, np.uint16)
    tasks = {"segmentation": ("segmentation", "nyud13"), "depth": ("depth", "")}
    row = Row(frame, {"segmentation": ids, "depth": depth})
    one = contact_sheet([row], tasks)
    two = contact_sheet([row, row], tasks)
    warned = contact_sheet([row], tasks, warning="a warning")
    assert two.shape[0] - one.shape[0] == 306
    assert warned.shape[0] > one.shape[0]
    places = [(y, x) for y in range(60) for x in range(4) if np.array_equal(one[y, x], frame[0, x])]
    assert any(np.array_equal(one[y : y + 300, :400], frame) for y, _ in places)


def test_pictures_are_made_in_order_beside_the_loop():
    """At most a few wait; what fails there is raised in the loop or at its end."""
    done, gate = [], threading.Event()
    with _Beside() as beside:
        for number in range(_Beside.WAITING):
            beside.do(lambda number: (gate.wait(10), done.append(number)), number)
        assert done == []
        gate.set()
        for number in range(_Beside.WAITING, 20):
            beside.do(done.append, number)
    assert done == list(range(20))

    def fails():
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"), _Beside() as beside:
        beside.do(fails)
    with pytest.raises(OSError, match="disk full"), _Beside() as beside:
        while True:
            beside.do(fails)
    with pytest.raises(KeyboardInterrupt), _Beside() as beside:
        beside.do(gate.wait)
        raise KeyboardInterrupt


def test_boards_that_cannot_be_counted_here_are_named_with_the_reason(
    package, folder, tmp_path, monkeypatch
):
    """A newcomer's machine without a compiler: the results come all the same."""

    def no_compiler(*_, **__):
        raise BuildError("no C++ compiler")

    monkeypatch.setattr("m3vit_pynq.bench.boards.count_on_boards", no_compiler)
    with open_source(folder) as source, M3ViTOverlay(package) as overlay:
        report = run_demo(overlay, source, DemoSettings(frames=2, out=tmp_path, sheet_rows=1))
    assert set(report.boards) == set(BOARDS)
    lines = report.table().splitlines()
    assert "  cycles cannot be had here: no C++ compiler" in lines
    assert sum("fits; cycles are not counted" in line for line in lines) == len(BOARDS)
    assert report.to_dict()["not_counted"] == "no C++ compiler"
