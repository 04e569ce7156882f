"""Tensors between numpy and Triton's Python backend, exactly.

The backend's stub carries a pybind11 that misreads the arrays of numpy 2 silently, while with
numpy 1 its DLPack export ends the stub. So each numpy takes the way that works with it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

NUMPY_2 = int(np.__version__.split(".")[0]) >= 2


def to_numpy(tensor: Any) -> NDArray[Any]:
    """A `pb_utils.Tensor` in CPU memory as an array of its own shape and type (maybe a view)."""
    return np.from_dlpack(tensor) if NUMPY_2 else tensor.as_numpy()


def to_tensor(pb_utils: Any, name: str, array: NDArray[Any]) -> Any:
    """An array as a `pb_utils.Tensor` called `name`; `pb_utils` is the stub's own module."""
    # DLPack has no strides that the stub reads and no read-only arrays: hand it a plain copy.
    array = np.array(array, order="C", copy=True)
    if NUMPY_2:
        return pb_utils.Tensor.from_dlpack(name, array)
    return pb_utils.Tensor(name, array)
