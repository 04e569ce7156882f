"""Exact conversion of tensors between numpy and Triton's Python backend.

The backend's stub contains a pybind11 that silently misreads arrays of numpy 2, while with numpy 1
its DLPack export ends the stub. So each numpy version uses the way that works with it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

NUMPY_2 = int(np.__version__.split(".")[0]) >= 2


def to_numpy(tensor: Any) -> NDArray[Any]:
    """Return a `pb_utils.Tensor` in CPU memory as an array of its shape and type, maybe a view."""
    return np.from_dlpack(tensor) if NUMPY_2 else tensor.as_numpy()


def to_tensor(pb_utils: Any, name: str, array: NDArray[Any]) -> Any:
    """Return an array as a `pb_utils.Tensor`.

    Args:
        pb_utils: The module of Triton's stub.
        name: Name of the tensor.
        array: Its values.
    """
    # The stub reads neither strides nor read-only arrays from DLPack: pass a contiguous copy.
    array = np.array(array, order="C", copy=True)
    if NUMPY_2:
        return pb_utils.Tensor.from_dlpack(name, array)
    return pb_utils.Tensor(name, array)
