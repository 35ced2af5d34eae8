"""Vectors in a plane, before and after, so that the eye can compare them."""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def flat(before: Floats, after: Floats) -> tuple[Floats, Floats]:
    """Each of two sets of vectors `(n, d)` of the same texts in its own plane, `(n, 2)`.

    The plane of a set is the one in which its vectors differ most (principal components). The
    second is turned, mirrored and scaled to lie as near to the first as it can (Procrustes).
    """
    first, second = _plane(before), _plane(after)
    left, sizes, right = np.linalg.svd(second.T @ first)
    return first, cast(Floats, second @ (left @ right))


def _plane(vectors: Floats) -> Floats:
    """The first two principal components, with a mean distance from the centre of 1."""
    centred = vectors - vectors.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    plane = centred @ axes[:2].T
    if plane.shape[1] < 2:
        plane = np.pad(plane, ((0, 0), (0, 2 - plane.shape[1])))
    size = float(np.sqrt((plane**2).sum(axis=1)).mean())
    return cast(Floats, plane / size if size > 0 else plane)
