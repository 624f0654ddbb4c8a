# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""What the emulated board is compared with, made here: PyTorch and ONNX Runtime.

Each is optional; what is missing is said. Importing either takes a second, so that
happens only when a runner is made.
"""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from m3vit_pynq.config import ModelConfig

#: Frame and task to a result.
Runner = Callable[[np.ndarray, str], np.ndarray]

TORCH = "torch"
#: The three forms of the dense ViT in ONNX Runtime.
ONNXRUNTIME = ("onnxruntime_fp32", "onnxruntime_dynamic", "onnxruntime_static")
TITLES = {
    TORCH: "PyTorch fp32, M³ViT",
    "onnxruntime_fp32": "ONNX Runtime fp32, dense",
    "onnxruntime_dynamic": "ONNX Runtime INT8 dynamic, dense",
    "onnxruntime_static": "ONNX Runtime INT8 static, dense",
}
_INSTALL = "pip install 'm3vit-pynq[bench]'"
#: Frames from which the static form learns its ranges.
_CALIBRATION = 4


@dataclass(frozen=True)
class Competitors:
    """Who takes part.

    Attributes
    ----------
    runners : dict
        `Runner` by a key of `TITLES`.
    missing : tuple of str
        A sentence for each that does not.
    """

    runners: dict[str, Runner]
    missing: tuple[str, ...] = ()


def find(config: ModelConfig, threads: int, without: Sequence[str] = ()) -> Competitors:
    """Make a runner of everything that is installed.

    Parameters
    ----------
    config : ModelConfig
        Whose shapes they have.
    threads : int
        Of each.
    without : sequence of str
        ``"torch"``, ``"onnxruntime"``: not to be run, and not to be missed.
    """
    runners: dict[str, Runner] = {}
    missing = []
    if TORCH not in without:
        if problem := _absent("torch"):
            missing.append(problem)
        else:
            runners[TORCH] = torch_runner(config, threads)
    if "onnxruntime" not in without:
        if problem := _absent("onnxruntime", "onnx"):
            missing.append(problem)
        else:
            runners.update(onnxruntime_runners(config, threads))
    return Competitors(runners, tuple(missing))


def _absent(*modules: str) -> str:
    absent = [name for name in modules if importlib.util.find_spec(name) is None]
    if not absent:
        return ""
    verb = "is" if len(absent) == 1 else "are"
    return f"{' and '.join(absent)} {verb} not installed: no comparison ({_INSTALL})"


def torch_runner(config: ModelConfig, threads: int | None = None) -> Runner:
    """The model in PyTorch fp32 with random weights: frame and task to result.

    It does what the accelerator does, from the uint8 frame to class ids or
    metres. The time does not depend on the weights: every token visits
    ``top_k`` experts whatever they hold.
    """
    import torch
    from torch.nn import functional

    from m3vit_pynq.training.model import M3ViT

    if threads is not None:
        torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = M3ViT(config).eval()

    def run(frame: np.ndarray, task: str) -> np.ndarray:
        with torch.inference_mode():
            pixels = torch.from_numpy(frame).permute(2, 0, 1)[None]
            result = model(pixels, task)[task]
            result = functional.interpolate(
                result, scale_factor=config.head.output_upsample, mode="bilinear",
                align_corners=False,
            )  # fmt: skip
            if result.shape[1] == 1:
                return result[0, 0].exp().numpy()
            return result[0].argmax(dim=0).to(torch.uint8).numpy()

    return run


def onnxruntime_runners(config: ModelConfig, threads: int) -> dict[str, Runner]:
    """The dense ViT of `m3vit_pynq.bench.dense_onnx` in three precisions, every task.

    INT8 dynamic: products by weights as ``MatMulInteger``, ranges found while it runs.
    INT8 static: these and the convolutions, ranges from random frames.
    """
    import onnx
    import onnxruntime

    from m3vit_pynq.bench.dense_onnx import INPUT, dense_model

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Its threads would watch for work while somebody else is measured.
    options.add_session_config_entry("session.force_spinning_stop", "1")

    sessions: dict[tuple[str, str], onnxruntime.InferenceSession] = {}
    with tempfile.TemporaryDirectory(prefix="m3vit-bench-") as folder:
        for task in config.tasks:
            path = Path(folder) / f"{task.name}.onnx"
            onnx.save(dense_model(config, task), path)
            for form, file in _precisions(path, config).items():
                sessions[form, task.name] = onnxruntime.InferenceSession(
                    str(file), options, providers=["CPUExecutionProvider"]
                )

    def runner(form: str) -> Runner:
        return lambda frame, task: sessions[form, task].run(None, {INPUT: frame})[0]

    return {form: runner(form) for form in ONNXRUNTIME}


def _precisions(path: Path, config: ModelConfig) -> dict[str, Path]:
    """Files of the three forms."""
    from onnx import TensorProto
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_dynamic, quantize_static

    # Products by weights only; outputs of operators that ONNX does not know are floats.
    kinds = {"MatMulConstBOnly": True, "DefaultTensorType": TensorProto.FLOAT}
    dynamic, static = (path.with_suffix(f".{form}.onnx") for form in ("dynamic", "static"))
    quantize_dynamic(
        path, dynamic, op_types_to_quantize=["MatMul"], per_channel=True,
        weight_type=QuantType.QInt8, extra_options=kinds,
    )  # fmt: skip
    quantize_static(
        path, static, _Frames(config), quant_format=QuantFormat.QDQ, per_channel=True,
        op_types_to_quantize=["MatMul", "Conv"], activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8, extra_options=kinds,
    )  # fmt: skip
    return dict(zip(ONNXRUNTIME, (path, dynamic, static), strict=True))


class _Frames:
    """Random frames, one after the other, as ``quantize_static`` asks for them."""

    def __init__(self, config: ModelConfig) -> None:
        self._frames: Iterable[np.ndarray] = iter(random_frames(config, _CALIBRATION))

    def get_next(self) -> dict[str, np.ndarray] | None:
        from m3vit_pynq.bench.dense_onnx import INPUT

        frame = next(self._frames, None)
        return None if frame is None else {INPUT: frame}


def random_frames(config: ModelConfig, count: int) -> list[np.ndarray]:
    """Frames of the model's size, uint8 RGB."""
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (*config.image_size, 3), np.uint8) for _ in range(count)]
