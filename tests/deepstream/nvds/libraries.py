"""NVIDIA's two metadata libraries, with the signatures of nvdsmeta.h and gstnvdsmeta.h.

Source: github.com/NVIDIA/DeepStream, includes/.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
from pathlib import Path

PACKAGE = "nvidia-deepstream-videodecode-cu13"


def folder() -> Path | None:
    """Return the folder of the libraries in the wheel, or None if it is not installed."""
    try:
        distribution = importlib.metadata.distribution(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return None
    return Path(str(distribution.locate_file("nvidia/deepstream_videodecode/_libs")))


def load() -> tuple[ctypes.CDLL, ctypes.CDLL]:
    """Load libnvds_meta.so and libnvdsgst_meta.so with their signatures. Raises OSError."""
    libraries = folder()
    assert libraries is not None, f"pip install --no-deps {PACKAGE}: scripts/setup.sh --dev"
    meta = ctypes.CDLL(str(libraries / "libnvds_meta.so"), mode=ctypes.RTLD_GLOBAL)
    gst = ctypes.CDLL(str(libraries / "libnvdsgst_meta.so"), mode=ctypes.RTLD_GLOBAL)
    pointer = ctypes.c_void_p
    for library, name, result, arguments in (
        (meta, "nvds_create_batch_meta", pointer, [ctypes.c_uint]),
        (meta, "nvds_destroy_batch_meta", ctypes.c_int, [pointer]),
        (meta, "nvds_acquire_frame_meta_from_pool", pointer, [pointer]),
        (meta, "nvds_add_frame_meta_to_batch", None, [pointer, pointer]),
        (meta, "nvds_acquire_user_meta_from_pool", pointer, [pointer]),
        (meta, "nvds_add_user_meta_to_frame", None, [pointer, pointer]),
        (meta, "nvds_remove_user_meta_from_frame", None, [pointer, pointer]),
        (meta, "nvds_acquire_obj_meta_from_pool", pointer, [pointer]),
        (meta, "nvds_add_obj_meta_to_frame", None, [pointer, pointer, pointer]),
        (meta, "nvds_acquire_meta_lock", None, [pointer]),
        (meta, "nvds_release_meta_lock", None, [pointer]),
        (gst, "gst_buffer_add_nvds_meta", pointer, [pointer] * 5),
        (gst, "gst_buffer_get_nvds_batch_meta", pointer, [pointer]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return meta, gst
