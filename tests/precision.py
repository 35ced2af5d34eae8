"""How exact results have to be, in the type that this run multiplies in."""

import os

IS_EXACT = os.environ.get("SENTUNE_TEST_DTYPE", "float32") == "float32"


def tolerance(exact: float) -> float:
    """A tolerance for float32; in bfloat16, that of products of the width of tiny models."""
    return exact if IS_EXACT else max(exact, 0.04)
