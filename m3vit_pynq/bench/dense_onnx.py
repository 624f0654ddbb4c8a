# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""A dense ViT of a model's tokens, width, depth and head as an ONNX graph with random weights.

What ONNX Runtime is timed with: from the uint8 frame to class ids or metres. Its
feed-forward layers are dense and ``mlp_ratio`` wide, which is as many products as
``top_k`` experts of a shipped M³ViT, without a router. What can be folded into weights
(normalisation of the frame, BatchNorm) takes no time here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from m3vit_pynq.config import ModelConfig, TaskConfig

if TYPE_CHECKING:
    import onnx

INPUT, OUTPUT = "frame", "result"
_OPSET = 17
#: Of the operators that ONNX Runtime adds: attention in one kernel is faster than products
#: and a softmax (8 % of a frame, in all precisions).
_FUSED = "com.microsoft"


class _Graph:
    """Nodes and weights under construction; every method returns the name of its output."""

    def __init__(self, seed: int) -> None:
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self._random = np.random.default_rng(seed)

    def constant(self, values: object, dtype: type = np.float32) -> str:
        from onnx import numpy_helper

        name = f"c{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def weight(self, *shape: int, deviation: float = 0.02) -> str:
        values = self._random.normal(0.0, deviation, shape)
        return self.constant(values)

    def node(self, kind: str, *inputs: str, outputs: int = 1, **attributes: object) -> Any:
        from onnx import helper

        names = [f"n{len(self.nodes)}_{k}" for k in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names[0] if outputs == 1 else names

    def linear(self, x: str, inputs: int, outputs: int) -> str:
        product = self.node("MatMul", x, self.weight(inputs, outputs))
        return self.node("Add", product, self.weight(outputs))

    def norm(self, x: str, width: int, epsilon: float) -> str:
        scale, bias = self.constant(np.ones(width)), self.weight(width)
        return self.node("LayerNormalization", x, scale, bias, axis=-1, epsilon=epsilon)

    def gelu(self, x: str) -> str:
        """As exporters write it; ONNX Runtime makes one kernel of it."""
        root = self.node("Erf", self.node("Div", x, self.constant(np.sqrt(2.0))))
        product = self.node("Mul", x, self.node("Add", root, self.constant(1.0)))
        return self.node("Mul", product, self.constant(0.5))

    def enlarged(self, x: str, factor: int) -> str:
        scales = self.constant([1.0, 1.0, factor, factor])
        return self.node(
            "Resize", x, "", scales, mode="linear",
            coordinate_transformation_mode="half_pixel",
        )  # fmt: skip

    def shaped(self, x: str, *shape: int) -> str:
        return self.node("Reshape", x, self.constant(shape, np.int64))


def dense_model(config: ModelConfig, task: TaskConfig) -> onnx.ModelProto:
    """The graph for one task."""
    import onnx
    from onnx import TensorProto, helper

    graph = _Graph(seed=0)
    x = _embed(graph, config)
    taps = []
    for block in range(config.depth):
        x = _block(graph, x, config)
        if block in config.head.taps:
            taps.append(x)
    _head(graph, taps, config, task)
    rows, columns = (n * config.head.enlargement for n in config.grid)
    kind = TensorProto.UINT8 if task.kind == "segmentation" else TensorProto.FLOAT
    proto = helper.make_graph(
        graph.nodes, f"dense_{config.name}_{task.name}",
        [helper.make_tensor_value_info(INPUT, TensorProto.UINT8, [*config.image_size, 3])],
        [helper.make_tensor_value_info(OUTPUT, kind, [rows, columns])], graph.initializers,
    )  # fmt: skip
    operators = [helper.make_opsetid("", _OPSET), helper.make_opsetid(_FUSED, 1)]
    model = helper.make_model(proto, opset_imports=operators)
    model.ir_version = 8
    onnx.checker.check_model(model)
    return model


def _embed(graph: _Graph, config: ModelConfig) -> str:
    from onnx import TensorProto

    size, width = config.patch_size, config.embed_dim
    patches = config.grid[0] * config.grid[1]
    x = graph.node("Cast", INPUT, to=TensorProto.FLOAT)
    x = graph.shaped(graph.node("Transpose", x, perm=[2, 0, 1]), 1, 3, *config.image_size)
    weight = graph.weight(width, 3, size, size, deviation=1e-4)
    x = graph.node("Conv", x, weight, graph.weight(width), strides=[size, size])
    x = graph.node("Transpose", graph.shaped(x, 1, width, patches), perm=[0, 2, 1])
    x = graph.node("Concat", graph.weight(1, 1, width), x, axis=1)
    return graph.node("Add", x, graph.weight(1, patches + 1, width, deviation=0.5))


def _block(graph: _Graph, x: str, config: ModelConfig) -> str:
    width, hidden = config.embed_dim, config.mlp_ratio * config.embed_dim
    normed = graph.norm(x, width, config.layernorm_eps)
    joined = graph.linear(normed, width, 3 * width)
    query, key, value = graph.node("Split", joined, outputs=3, axis=-1)
    mixed = graph.node(
        "MultiHeadAttention", query, key, value, domain=_FUSED, num_heads=config.heads
    )
    x = graph.node("Add", x, graph.linear(mixed, width, width))
    normed = graph.norm(x, width, config.layernorm_eps)
    inner = graph.gelu(graph.linear(normed, width, hidden))
    return graph.node("Add", x, graph.linear(inner, hidden, width))


def _head(graph: _Graph, taps: list[str], config: ModelConfig, task: TaskConfig) -> None:
    from onnx import TensorProto, helper

    head, width = config.head, config.embed_dim
    first, rest = graph.constant([1], np.int64), graph.constant([1 << 30], np.int64)
    axis = graph.constant([1], np.int64)
    maps = [
        graph.norm(graph.node("Slice", tap, first, rest, axis), width, config.layernorm_eps)
        for tap in taps
    ]
    joined = graph.node("Concat", *maps, axis=-1) if len(maps) > 1 else maps[0]
    x = graph.linear(joined, len(maps) * width, head.channels[0])
    x = graph.shaped(graph.node("Transpose", x, perm=[0, 2, 1]), 1, head.channels[0], *config.grid)
    for inputs, outputs in zip(head.channels[:-1], head.channels[1:], strict=True):
        weight, bias = graph.weight(outputs, inputs, 3, 3), graph.weight(outputs)
        x = graph.node("Conv", graph.enlarged(x, 2), weight, bias, pads=[1, 1, 1, 1])
        x = graph.node("Relu", x)
    x = graph.node("Conv", x, graph.weight(task.outputs, head.channels[-1], 1, 1),
                   graph.weight(task.outputs))  # fmt: skip
    if head.output_upsample > 1:
        x = graph.enlarged(x, head.output_upsample)
    if task.kind == "segmentation":
        x = graph.node("ArgMax", x, axis=1, keepdims=0)
        x = graph.node("Cast", x, to=TensorProto.UINT8)
    else:
        x = graph.node("Exp", x)
    rows, columns = (n * head.enlargement for n in config.grid)
    shape = graph.constant([rows, columns], np.int64)
    graph.nodes.append(helper.make_node("Reshape", [x, shape], [OUTPUT]))
