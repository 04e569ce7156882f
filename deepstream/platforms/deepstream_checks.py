"""Checks of a machine before the graph runs on DeepStream; what is missing gives one line."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from deepstream.gstreamer import Gst, has_element
from xpnet.errors import UserError
from xpnet.host.nvidia_software import (
    INSTALL_PYDS,
    detect_nvidia_software,
    find_module,
    is_unrelated_pyds,
)

REQUIRED_PYDS_NAMES = (
    "NvOSD_MaskParams.alloc_mask_array",  # the newest of them: pyds 1.1.11, DeepStream 7.0
    "gst_buffer_get_nvds_batch_meta",
    "get_nvds_buf_surface",
    "get_segmentation_masks",
    "NvDsInferSegmentationMeta",
    "NvBufSurfaceSyncForDevice",
)
INSTALL = f"run {INSTALL_PYDS}"


def is_jetson() -> bool:
    """Return whether this machine is a Jetson."""
    return detect_nvidia_software(run=lambda _: "").jetson


def check_deepstream(has: Callable[[str], bool] = has_element) -> None:
    """Check that DeepStream's elements are installed, nvinferserver among them.

    Args:
        has: Returns whether GStreamer has an element.

    Raises:
        UserError: DeepStream, or its build with Triton, is missing.
    """
    missing = [name for name in ("nvstreammux", "nvvideoconvert", "nvdsosd") if not has(name)]
    if missing:
        raise UserError(
            f"GStreamer lacks {', '.join(missing)}: NVIDIA DeepStream is not installed; "
            "--platform gstreamer runs without it"
        )
    if not has("nvinferserver"):
        raise UserError(
            "DeepStream has no nvinferserver: it is installed without Triton; use a container "
            "nvcr.io/nvidia/deepstream:VERSION-triton-multiarch (for 9.2 one of "
            "ghcr.io/nvidia/deepstream), or on a Jetson run DeepStream's "
            "triton_backend_setup.sh (then `rm -r ~/.cache/gstreamer-1.0`)"
        )


def load_pyds() -> Any:
    """Import NVIDIA's pyds.

    Returns:
        The module.

    Raises:
        UserError: It is missing, broken, too old, or an unrelated package of the same name.
    """
    module = find_module("pyds")
    if module is None:
        raise UserError(f"DeepStream's Python binding pyds is missing: {INSTALL}")
    if is_unrelated_pyds(module):
        raise UserError(
            f"{module.origin} is not NVIDIA's pyds but an unrelated package of that name: "
            f"pip uninstall pyds, then {INSTALL}"
        )
    numpy = find_module("numpy")
    if numpy is not None and int(numpy.version.partition(".")[0]) >= 2:
        raise UserError(f"pyds is built for numpy 1, found {numpy.version}: pip install 'numpy<2'")
    try:
        pyds = importlib.import_module("pyds")
    except ImportError as error:
        raise UserError(f"pyds cannot be loaded: {error}: {INSTALL}") from error
    lacking = [name for name in REQUIRED_PYDS_NAMES if not _has(pyds, name)]
    if lacking:
        raise UserError(f"pyds lacks {', '.join(lacking)}: expected 1.1.11 or newer")
    return pyds


def _has(owner: Any, name: str) -> bool:
    """Return whether a module has a name, or with a dot, whether its class has an attribute."""
    first, _, rest = name.partition(".")
    return hasattr(owner, first) and (not rest or _has(getattr(owner, first), rest))


def has_hardware_encoder() -> bool:
    """Return whether NVENC works: an Orin Nano has the element, but no encoder behind it."""
    encoder = Gst.ElementFactory.make("nvv4l2h264enc")
    if encoder is None:
        return False
    try:
        return bool(encoder.set_state(Gst.State.READY) != Gst.StateChangeReturn.FAILURE)
    finally:
        encoder.set_state(Gst.State.NULL)
