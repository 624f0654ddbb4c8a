# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Where the time of a live view goes: capture, accelerator, drawing, JPEG, browser.

Two measurements. *Drawing* takes results of the model for a few frames and draws
and encodes them again and again, alone on its thread. *Live* runs the session and
a viewer side by side as the notebook does, and reads their own figures; the viewer is
another process on the same computer that decodes every picture and answers, as a
browser does. Wall time is what a viewer sees; processor time hardly depends on what
else the computer does.

    python benchmarks/live_view.py [--package P] [--source S] [--seconds T]
                                   [--browser /usr/bin/chromium] [--csv FILE]
                                   [--csv-live FILE]
"""

from __future__ import annotations

import argparse
import base64
import csv
import itertools
import multiprocessing
import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median

import cv2
import numpy as np

from m3vit_pynq import computer
from m3vit_pynq.cli.options import open_package
from m3vit_pynq.live import LiveSession, ViewSettings
from m3vit_pynq.live.compose import Composer
from m3vit_pynq.live.moment import Moment, Shot
from m3vit_pynq.live.painter import Painter, encode
from m3vit_pynq.overlay import M3ViTOverlay
from m3vit_pynq.sources import open_source

VIEWS = {
    "segmentation over the frame": (("segmentation",), ViewSettings(strips=False)),
    "depth over the frame": (("depth",), ViewSettings(strips=False)),
    "both over the frame": (("segmentation", "depth"), ViewSettings(strips=False)),
    "both beside the frame": (
        ("segmentation", "depth"), ViewSettings(mode="side by side", strips=False),
    ),
    "segmentation with legend": (("segmentation",), ViewSettings()),
}  # fmt: skip

#: What Chromium does with a JPEG before it is on the canvas.
DECODE = """async (text) => {
  const data = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const canvas = document.createElement("canvas"), context = canvas.getContext("2d");
  const began = performance.now();
  const picture = await createImageBitmap(new Blob([data], { type: "image/jpeg" }));
  canvas.width = picture.width; canvas.height = picture.height;
  context.drawImage(picture, 0, 0);
  context.getImageData(0, 0, 1, 1);
  return performance.now() - began;
}"""


def moments(overlay: M3ViTOverlay, source: str, count: int) -> list[dict[str, Shot]]:
    """Results of the model for frames of a source, 480 x 640."""
    with open_source(source, hold=1) as opened:
        frames = [cv2.resize(f, (640, 480)) for f in itertools.islice(opened, count)]
    return [
        {task: Shot(frame, result, 0.0) for task, result in overlay.run(frame).items()}
        for frame in frames
    ]


def draw(results: list[dict[str, Shot]], repeats: int) -> list[dict[str, object]]:
    """Milliseconds of drawing and encoding for every view: wall and processor time."""
    rows = []
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # so that processor time is all of it
    for name, (tasks, settings) in VIEWS.items():
        composer, times, jpeg = Composer(), [], b""
        for number in range(repeats):
            shots = {task: results[number % len(results)][task] for task in tasks}
            moment = Moment(number, shots, shots[tasks[-1]])
            marks = [(time.perf_counter(), time.thread_time())]
            pixels = composer.compose(moment, settings).pixels
            marks.append((time.perf_counter(), time.thread_time()))
            jpeg = encode(pixels, settings.quality)
            marks.append((time.perf_counter(), time.thread_time()))
            times.append([[1e3 * (b[i] - a[i]) for a, b in itertools.pairwise(marks)]
                          for i in (0, 1)])  # fmt: skip
        rows.append({
            "view": name, "pixels": f"{pixels.shape[1]}x{pixels.shape[0]}", "bytes": len(jpeg),
            "draw_ms": round(median(t[0][0] for t in times), 2),
            "encode_ms": round(median(t[0][1] for t in times), 2),
            "cpu_ms": round(median(sum(t[1]) for t in times), 2), "jpeg": jpeg,
        })  # fmt: skip
    cv2.setNumThreads(threads)
    return rows


def browse(rows: list[dict[str, object]], executable: str, repeats: int = 30) -> None:
    """Add what a browser takes from the JPEG to the canvas."""
    from playwright.sync_api import sync_playwright

    flags = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=flags)
        page = browser.new_page()
        for row in rows:
            text = base64.b64encode(row["jpeg"]).decode()
            row["browser_ms"] = round(
                median(page.evaluate(DECODE, text) for _ in range(repeats)), 2
            )
        browser.close()


def watch(pipe: Connection) -> None:
    """What a browser does with pictures: decode, enlarge, answer; in another process."""
    cv2.setNumThreads(1)
    pipe.send_bytes(b"ready")
    while jpeg := pipe.recv_bytes():
        picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
        cv2.resize(picture, None, fx=1.5, fy=1.5)
        pipe.send_bytes(b"shown")


@contextmanager
def viewer() -> Iterator[Connection]:
    """A viewer in a process of its own; an empty picture ends it."""
    here, there = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=watch, args=(there,), daemon=True)
    process.start()
    here.recv_bytes()
    try:
        yield here
    finally:
        here.send_bytes(b"")
        process.join(10)


def live(
    overlay: M3ViTOverlay, source: str, task: str, seconds: float, rate: float
) -> dict[str, object]:
    """Figures of a session with one viewer that takes what the rate cap of a view lets through."""
    with viewer() as pipe, LiveSession(overlay, source, task) as session:
        painter = Painter(session, replace(ViewSettings(), strips=False))
        session.wait(10, timeout=120)
        end, due, serial, pictures = time.monotonic() + seconds, 0.0, 0, 0
        first = session.moment.number
        began = time.perf_counter()
        while time.monotonic() < end:
            painted = painter.after(serial, 1.0)
            if painted is not None:
                pipe.send_bytes(painted.jpeg)
                pipe.recv_bytes()
                serial, pictures = painted.serial, pictures + 1
                session.figures.end_to_end.add(time.perf_counter() - painted.moment.newest.captured)
            now = time.monotonic()
            due = max(now, due + 1.0 / rate)
            time.sleep(due - now)
        took = time.perf_counter() - began
        stages = session.stages_ms
        figures = session.figures
        return {
            "task": task, "results_per_s": round((session.moment.number - first) / took, 1),
            "pictures_per_s": round(pictures / took, 1),
            "capture_ms": _ms(figures.capture.value), "resize_ms": round(stages["resize"], 2),
            "device_ms": _ms(figures.device.value),
            "postprocess_ms": round(stages["postprocess"], 2),
            "host_loop_ms": round(stages["consumer"], 2),
            "draw_ms": _ms(figures.draw.value), "encode_ms": _ms(figures.encode.value),
            "end_to_end_ms": _ms(figures.end_to_end.value),
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
            "page": figures.line(True).partition("limited by ")[2].partition("  |")[0],
        }  # fmt: skip


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(1e3 * seconds, 2)


def table(rows: list[dict[str, object]]) -> str:
    """Rows as text."""
    names = [name for name in rows[0] if name != "jpeg"]
    lines = [names, *([str(row.get(name, "")) for name in names] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(names))]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        for line in lines
    )


def record(path: Path, rows: list[dict[str, object]], package: str) -> None:
    """Append figures to a CSV."""
    common = {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "commit": computer.commit(), "processor": computer.processor(),
        "cores": computer.cores(), "load": round(os.getloadavg()[0], 1), "package": package,
    }  # fmt: skip
    new = not path.exists()
    with path.open("a", newline="") as file:
        kept = [{**common, **{k: v for k, v in row.items() if k != "jpeg"}} for row in rows]
        writer = csv.DictWriter(file, list(kept[0]), lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerows(kept)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--package")
    parser.add_argument("--source", default="stills")
    parser.add_argument("--frames", type=int, default=8, help="frames that are drawn")
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=15.0, help="of the live run, per task")
    parser.add_argument("--browser", help="path of Chromium")
    parser.add_argument(
        "--rate", type=float, default=20.0, help="pictures per second of the live run at most"
    )
    parser.add_argument("--csv", type=Path, help="append the drawing times to a file")
    parser.add_argument("--csv-live", type=Path, help="append the live run to a file")
    arguments = parser.parse_args()
    package = open_package(arguments.package)
    with M3ViTOverlay(package) as overlay:
        rows = draw(moments(overlay, arguments.source, arguments.frames), arguments.repeats)
        if arguments.browser:
            browse(rows, arguments.browser)
        print(f"load of this computer: {os.getloadavg()[0]:.1f} on {computer.cores()} cores")
        print(table(rows))
        if arguments.csv:
            record(arguments.csv, rows, package.config.name)
        if arguments.seconds > 0:
            names = (*package.task_names, "both")
            found = [
                live(overlay, arguments.source, task, arguments.seconds, arguments.rate)
                for task in names
            ]
            print(table(found))
            if arguments.csv_live:
                record(arguments.csv_live, found, package.config.name)


if __name__ == "__main__":
    main()
