# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Streaming: order, overlap, task switches, packages in flight, ends of all kinds."""

from __future__ import annotations

import threading
import tracemalloc

import numpy as np
import pytest

from m3vit_pynq.errors import AcceleratorError, AcceleratorTimeout, FrameError, M3ViTError
from m3vit_pynq.stream_statistics import StreamStatistics


def check(results, images, expected, packages, tasks) -> None:
    """Every frame came back once, in order, computed by the right model for the right task."""
    assert [result.frame_index for _, result in results] == list(range(len(images)))
    assert all(frame is image for (frame, _), image in zip(results, images, strict=True))
    assert [result.task for _, result in results] == list(tasks)
    for (frame, result), package in zip(results, packages, strict=True):
        np.testing.assert_array_equal(result.data, expected(frame, package, result.task))


def test_every_frame_once_and_in_order(overlay, micro, images, expected):
    frames = images(7)
    with overlay.stream(frames, task="depth") as stream:
        results = list(stream)
    check(results, frames, expected, [micro] * 7, ["depth"] * 7)
    assert type(results[0][1].data) is np.ndarray
    assert results[0][1].data.flags.owndata


@pytest.mark.parametrize("count", [0, 1, 2])
def test_short_sources(overlay, micro, images, expected, count):
    frames = images(count)
    with overlay.stream(iter(frames)) as stream:
        results = list(stream)
    check(results, frames, expected, [micro] * count, ["segmentation"] * count)


def test_a_switch_takes_effect_at_the_next_frame_that_is_started(overlay, micro, images, expected):
    frames = images(8)
    results = []
    with overlay.stream(frames, task="segmentation") as stream:
        for item in stream:
            results.append(item)
            if item[1].frame_index == 2:
                stream.task = "depth"  # frame 3 is being computed now
                assert stream.task == "depth"
    tasks = ["segmentation"] * 4 + ["depth"] * 4
    check(results, frames, expected, [micro] * 8, tasks)
    assert stream.statistics.switches == 1


def test_tasks_alternate(overlay, micro, images, expected):
    frames = images(5)
    with overlay.stream(frames, task=("depth", "segmentation")) as stream:
        assert stream.task == ("depth", "segmentation")
        results = list(stream)
    tasks = ["depth", "segmentation", "depth", "segmentation", "depth"]
    check(results, frames, expected, [micro] * 5, tasks)


def test_both_means_all(overlay, images):
    with overlay.stream(images(2), task="both") as stream:
        assert [result.task for _, result in stream] == ["segmentation", "depth"]


def test_unknown_tasks_change_nothing(overlay, images):
    with overlay.stream(images(2), task="depth") as stream:
        for wrong in ("pose", ("depth", "pose"), ()):
            with pytest.raises(ValueError, match=r"segmentation, depth"):
                stream.task = wrong
        assert stream.task == "depth"
        assert len(list(stream)) == 2


def test_registers_per_frame(overlay, device, images):
    """At most 8 in steady state, one more for a switch; the driver's count is the bus's."""

    def on_the_bus() -> int:
        return sum(
            count
            for (instance, kind, offset), count in device.accesses.items()
            if instance == "m3vit_accel_0" and not (kind == "read" and offset == 0)
        )

    counts, before = [], None
    with overlay.stream(images(9), task="segmentation") as stream:
        for _, result in stream:
            now = on_the_bus()
            counts.append(None if before is None else now - before)
            before = now
            if result.frame_index == 3:
                stream.task = "depth"
    statistics = stream.statistics
    assert statistics.registers_per_frame == 5
    assert statistics.registers_per_switch_frame == 6
    # A result is delivered after the next frame was started: the counts between
    # deliveries are whole frames in steady state.
    assert counts[2:4] == [5, 5] and counts[7] == 5
    assert sum(counts[4:7]) == 3 * 5 + 1
    # With the interrupt wired, the status is read once, to confirm the end.
    assert statistics.polls == 9


def test_interrupt_controller_accesses_per_frame(overlay, device, images):
    with overlay.stream(images(4)) as stream:
        list(stream)
    before = sum(n for (name, _, _), n in device.accesses.items() if name == "axi_intc_0")
    with overlay.stream(images(10)) as stream:
        list(stream)
    after = sum(n for (name, _, _), n in device.accesses.items() if name == "axi_intc_0")
    assert after - before == 10


def test_nothing_is_allocated_after_the_first_frame(overlay, device, images):
    outputs = device.fabric.kernel({"run_command": 0}, {})
    device.fabric.kernel = lambda arguments, memories: outputs  # allocates nothing itself
    frames = images(4, shape=(120, 160, 3))
    source = (frames[index % 4] for index in range(40))
    with overlay.stream(source, task="both") as stream:
        for _, result in stream:
            if result.frame_index == 8:
                allocations, live = device.allocations, device.memory.live
                tracemalloc.start()
            if result.frame_index == 38:
                peak = tracemalloc.get_traced_memory()[1]
                tracemalloc.stop()
    assert device.allocations == allocations
    assert live == 1 + 4  # one package, two frame and two output buffers
    # Less than one frame, one resized frame or one result would take together.
    height, width = overlay.package.config.image_size
    assert peak < height * width * 3 + 16 * 1024


def test_results_stay_valid_when_kept(overlay, micro, images, expected):
    frames = images(12)
    with overlay.stream(frames, task="segmentation") as stream:
        kept = list(stream)
    overlay.run(images(1, seed=9)[0])
    check(kept, frames, expected, [micro] * 12, ["segmentation"] * 12)
    assert len({id(result.data) for _, result in kept}) == 12


def test_the_host_works_while_the_accelerator_does(overlay, device, images):
    """Frame n + 1 is captured and filled before frame n has ended."""
    gate, captured = threading.Event(), threading.Event()
    kernel = device.fabric.kernel

    def held(arguments, memories):
        if arguments["run_command"] == 1:
            assert gate.wait(10)
        return kernel(arguments, memories)

    device.fabric.kernel = held

    def source():
        frames = images(2)
        yield frames[0]
        captured.set()
        yield frames[1]

    def open_when_captured():
        # Only a host that captures during the run ever gets here in time.
        if captured.wait(5):
            gate.set()

    opener = threading.Thread(target=open_when_captured)
    opener.start()
    with overlay.stream(source()) as stream:
        assert len(list(stream)) == 2
    opener.join(10)
    assert gate.is_set()


def test_a_package_streams_in_while_frames_go_on(overlay, micro, others, images, expected):
    frames = images(14)
    overlay_moved = overlay._banks.bytes_moved
    results, loading = [], []
    with overlay.stream(frames, task="segmentation") as stream:
        stream.chunk = others[0].weights.size // 4
        for item in stream:
            results.append(item)
            loading.append(stream.loading)
            if item[1].frame_index == 3:
                stream.package = others[0]
                assert stream.package is micro
        assert stream.package is others[0]
    shares = [share for share in loading if share is not None]
    assert shares == sorted(shares) and 2 <= len(shares) <= 6
    flip = 14 - sum(1 for _, r in results if np.array_equal(
        r.data, expected(frames[r.frame_index], others[0], "segmentation")))  # fmt: skip
    assert 5 < flip < 12
    packages = [micro] * flip + [others[0]] * (14 - flip)
    check(results, frames, expected, packages, ["segmentation"] * 14)
    total = others[0].weights.size + len(others[0].program)
    assert stream.statistics.bytes_moved == total
    assert overlay._banks.bytes_moved - overlay_moved == total
    assert stream.statistics.package_switches == 1
    assert overlay.package is others[0]


def test_a_resident_package_moves_nothing(overlay, micro, others, images, expected):
    overlay.load(others[0])
    moved = overlay._banks.bytes_moved
    frames = images(6)
    results = []
    with overlay.stream(frames) as stream:
        for item in stream:
            results.append(item)
            if item[1].frame_index == 1:
                stream.package = micro
    assert overlay._banks.bytes_moved == moved
    packages = [others[0]] * 3 + [micro] * 3
    check(results, frames, expected, packages, ["segmentation"] * 6)


def test_a_package_with_another_frame_size(overlay, micro, larger, images, expected):
    frames = images(8)
    results = []
    with overlay.stream(frames, task="both") as stream:
        stream.chunk = 1 << 30
        for item in stream:
            results.append(item)
            if item[1].frame_index == 2:
                stream.package = larger
    check(results, frames, expected, [micro] * 4 + [larger] * 4, ["segmentation", "depth"] * 4)
    assert results[-1][1].data.shape != results[0][1].data.shape


def test_loading_from_another_thread_while_frames_go_on(overlay, micro, others, images, expected):
    frames = images(20)
    loader = threading.Thread(target=overlay.load, args=(others[0],))
    with overlay.stream(frames) as stream:
        loader.start()
        results = list(stream)
    loader.join(10)
    check(results, frames, expected, [micro] * 20, ["segmentation"] * 20)
    assert {id(package) for package in overlay.resident} == {id(micro), id(others[0])}


def test_leaving_the_loop_early(overlay, device, images, expected, micro):
    with overlay.stream(images(10)) as stream:
        for _, result in stream:
            if result.frame_index == 1:
                break
    assert not overlay.driver.busy
    assert device.memory.live == 1
    stream.close()
    with pytest.raises(M3ViTError, match="closed"):
        iter(stream)
    picture = images(1)[0]
    np.testing.assert_array_equal(
        overlay.run(picture, task="depth").data, expected(picture, micro, "depth")
    )


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_exceptions_in_the_loop_leave_the_device_idle(overlay, device, images, error):
    with pytest.raises(error), overlay.stream(images(10)) as stream:
        for _ in stream:
            raise error
    assert not overlay.driver.busy and device.fabric.registers.busy is False
    assert device.memory.live == 1
    assert overlay.run(images(1)[0])


def test_interrupted_while_waiting(overlay, device, images, monkeypatch):
    """Ctrl-C in the wait itself: closing waits for the frame that runs."""
    original, calls = overlay.driver.wait, []

    def interrupted(timeout=None):
        calls.append(True)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(timeout)

    device.faults.delay = 0.05
    monkeypatch.setattr(overlay.driver, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt), overlay.stream(images(10)) as stream:
        list(stream)
    assert len(calls) == 3
    assert not overlay.driver.busy and not device.fabric.registers.busy
    assert device.memory.live == 1


def test_a_source_that_fails(overlay, device, images):
    def source():
        yield from images(3)
        raise OSError("camera unplugged")

    got = []
    with pytest.raises(OSError, match="unplugged"), overlay.stream(source()) as stream:
        got.extend(stream)
    assert not overlay.driver.busy and device.memory.live == 1
    assert overlay.run(images(1)[0])


def test_a_frame_that_is_no_image(overlay, device, images):
    with (
        pytest.raises(FrameError),
        overlay.stream([*images(2), np.zeros((9, 9), np.float64)]) as stream,
    ):
        list(stream)
    assert not overlay.driver.busy and device.memory.live == 1


def test_grey_odd_and_rgba_frames(overlay, micro, expected):
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, s, dtype=np.uint8) for s in ((31, 57), (9, 200, 4), (33, 49, 3))]
    rgb = [np.stack([frames[0]] * 3, axis=-1), frames[1][..., :3].copy(), frames[2]]
    with overlay.stream(frames) as stream:
        for (_, result), image in zip(stream, rgb, strict=True):
            np.testing.assert_array_equal(result.data, expected(image, micro, "segmentation"))


def test_an_accelerator_error_in_a_stream(overlay, device, images):
    with pytest.raises(AcceleratorError), overlay.stream(images(10)) as stream:
        for _, result in stream:
            if result.frame_index == 1:
                device.faults.outputs = {"run_error": 7, "run_pc": 0}
    device.faults.outputs = {}
    assert not overlay.driver.busy and device.memory.live == 1
    assert overlay.run(images(1)[0])


def test_a_stall_in_a_stream(overlay, device, images):
    overlay.driver.timeout = 0.5
    with pytest.raises(AcceleratorTimeout), overlay.stream(images(10)) as stream:
        for _, result in stream:
            if result.frame_index == 1:
                device.faults.stall = {1}
    device.faults.stall = set()
    overlay.driver.timeout = 20.0
    assert not overlay.driver.busy and device.memory.live == 1
    assert overlay.run(images(1)[0])


def test_one_stream_at_a_time(overlay, images):
    with overlay.stream(images(2)) as stream:
        with pytest.raises(RuntimeError, match="stream is open"):
            overlay.stream(images(1))
        with pytest.raises(RuntimeError, match="stream is open"):
            overlay.run(images(1)[0])
        assert len(list(stream)) == 2
    with overlay.stream(images(2)) as stream:
        assert len(list(stream)) == 2


def test_closing_the_overlay_closes_the_stream(overlay, device, images):
    stream = overlay.stream(images(9))
    next(iter(stream))
    overlay.close()
    assert stream.closed and device.memory.live == 0


def test_statistics(overlay, images):
    with overlay.stream(images(12), task="both") as stream:
        list(stream)
    statistics = stream.statistics
    assert statistics.frames == 12 and statistics.switches == 11
    names = ["capture", "resize", "device", "wait", "postprocess", "consumer"]
    assert list(statistics.stages_ms) == names
    assert statistics.fps > 0
    assert statistics.cycles_per_frame == {}, "nothing counts them"


def test_cycles_of_the_first_frame_after_a_switch():
    """Where a counter stands beside the accelerator."""
    statistics = StreamStatistics()
    for index, (task, cycles) in enumerate(
        [("depth", 1000), ("depth", 1000), ("segmentation", 900), ("depth", 1500)]
    ):
        switched = index in (2, 3)
        statistics.add_frame(task, cycles, 5, first=index == 0, switched=switched)
    assert statistics.first_frame_after_switch_ratio == 1.5
    assert statistics.cycles_per_frame == {"depth": 3500 / 3, "segmentation": 900}
    statistics.add_frame("depth", None, 5, first=False, switched=False)
    assert statistics.cycles_per_frame["depth"] == 3500 / 3


def test_throughput(overlay):
    statistics = overlay.throughput_test(frames=5)
    assert statistics.frames == 5 and set(statistics.stages_ms) >= {"resize", "device"}
