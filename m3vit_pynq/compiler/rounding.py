# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Rounding weights to int8 so that the layer's *outputs* stay close.

The second moment of a layer's inputs says how much each weight's error costs.
Columns are rounded one after the other, costliest first, and the error each
one makes is compensated in the columns that are still free (optimal brain
surgeon, in the column-wise form of GPTQ: Frantar et al., 2022).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LIMIT = 127
_BLOCK = 64


def row_scales(weights: np.ndarray, importance: np.ndarray) -> np.ndarray:
    """Scale of each row that minimises its weighted rounding error.

    Parameters
    ----------
    weights : float [outputs, K]
    importance : float [K]
        Mean square of each input.

    Returns
    -------
    float64 [outputs]
    """
    largest = np.maximum(np.abs(weights).max(axis=1), 1e-12)
    best = largest / LIMIT
    least = np.full(len(weights), np.inf)
    for shrink in (1.0, 0.95, 0.9, 0.85, 0.8, 0.72, 0.64):
        scale = largest * shrink / LIMIT
        rounded = np.clip(np.rint(weights / scale[:, None]), -LIMIT, LIMIT) * scale[:, None]
        error = ((rounded - weights) ** 2) @ importance
        best = np.where(error < least, scale, best)
        least = np.minimum(error, least)
    return best


def round_to_nearest(weights: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Plain rounding: int8-range float64 [outputs, K]."""
    return np.clip(np.rint(weights / scale[:, None]), -LIMIT, LIMIT)


def damped(moment: np.ndarray, fraction: float) -> np.ndarray:
    """Second moment with a multiple of its mean diagonal added, hence invertible."""
    mean = max(float(np.trace(moment)) / len(moment), 1e-9)
    return moment + np.eye(len(moment)) * (fraction * mean)


@dataclass(frozen=True)
class Feedback:
    """How the error of one column is made up for in later ones.

    Attributes
    ----------
    order : int [K]
        Columns, costliest first.
    factor : float64 [K, K]
        Upper Cholesky factor of the inverse second moment, in that order.
    """

    order: np.ndarray
    factor: np.ndarray

    @classmethod
    def of(cls, moment: np.ndarray, damping: float = 0.01) -> Feedback:
        """From the second moment [K, K] of a layer's inputs."""
        order = np.argsort(-np.diag(moment), kind="stable")
        inverse = np.linalg.inv(damped(moment, damping)[np.ix_(order, order)])
        return cls(order, np.linalg.cholesky((inverse + inverse.T) / 2).T)


def round_compensated(weights: np.ndarray, scale: np.ndarray, feedback: Feedback) -> np.ndarray:
    """Round with error feedback.

    Parameters
    ----------
    weights : float [outputs, K]
    scale : float [outputs]

    Returns
    -------
    float64 [outputs, K] of integers within +-127
    """
    order, factor = feedback.order, feedback.factor
    # Transposed, so that a column of weights is contiguous.
    left = np.ascontiguousarray((weights / scale[:, None])[:, order].T, dtype=np.float64)
    rounded = np.empty_like(left)
    for start in range(0, len(left), _BLOCK):
        stop = min(start + _BLOCK, len(left))
        errors = np.empty((stop - start, left.shape[1]))
        for column in range(start, stop):
            nearest = np.maximum(np.minimum(np.rint(left[column]), LIMIT), -LIMIT)
            error = (left[column] - nearest) / factor[column, column]
            left[column + 1 : stop] -= factor[column, column + 1 : stop, None] * error
            rounded[column], errors[column - start] = nearest, error
        left[stop:] -= factor[start:stop, stop:].T @ errors
    result = np.empty_like(rounded)
    result[order] = rounded
    return np.ascontiguousarray(result.T)
