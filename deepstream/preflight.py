"""What must be there before the graph runs on DeepStream; what is not gets one line each."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from deepstream.app_config import nvinferserver_schema
from deepstream.app_config.config_check import Checker
from deepstream.app_config.config_writer import LABELS
from deepstream.app_config.infer_config import Server, in_process, over_grpc
from deepstream.gstreamer import Gst, has_element
from xpnet.card import Card, read_model_card
from xpnet.errors import UserError
from xpnet.host.nvidia_software import INSTALL_PYDS, find_module, look, wrong_pyds
from xpnet.platforms import DGPU, JETSON
from xpnet.serving.model_config import check_config
from xpnet.serving.triton_connection import check_served

PYDS_NEEDS = (
    "gst_buffer_get_nvds_batch_meta",
    "get_nvds_buf_surface",
    "get_segmentation_masks",
    "NvDsInferSegmentationMeta",
    "NvBufSurfaceSyncForDevice",
)
INSTALL = f"in NVIDIA's container run {INSTALL_PYDS}; `xpnet doctor` says which version fits"


@dataclass(frozen=True)
class Preflight:
    """A machine and a model on which the graph can run on DeepStream."""

    platform: str
    pyds: Any
    card: Card
    infer_config: Path

    @property
    def jetson(self) -> bool:
        """Whether surfaces must be mapped."""
        return self.platform == JETSON


def check_machine(platform: str = DGPU) -> tuple[str, Any]:
    """The platform of this machine's graph, and pyds; of `deepstream` a Jetson's where it is one.

    Raises:
        UserError: DeepStream, its Triton or pyds is missing or wrong.
    """
    check_deepstream()
    return JETSON if platform == JETSON else detect_platform(), load_pyds()


def detect_platform() -> str:
    """The platform of this machine's graph on DeepStream."""
    return JETSON if look(run=lambda _: "").jetson else DGPU


def check_deepstream(has: Callable[[str], bool] = has_element) -> None:
    """Raises UserError without DeepStream's elements, or without nvinferserver among them."""
    missing = [name for name in ("nvstreammux", "nvvideoconvert", "nvdsosd") if not has(name)]
    if missing:
        raise UserError(
            f"GStreamer lacks {', '.join(missing)}: NVIDIA DeepStream is not installed here; "
            "--platform gstreamer runs without it"
        )
    if not has("nvinferserver"):
        raise UserError(
            "this DeepStream has no nvinferserver: it is not built with Triton; take a container "
            "nvcr.io/nvidia/deepstream:VERSION-triton-multiarch, or on a Jetson run DeepStream's "
            "triton_backend_setup.sh (then `rm -r ~/.cache/gstreamer-1.0`)"
        )


def load_pyds() -> Any:
    """NVIDIA's pyds. Raises UserError where it is missing, broken, or the other package."""
    module = find_module("pyds")
    if module is None:
        raise UserError(f"DeepStream's Python binding pyds is missing: {INSTALL}")
    if wrong_pyds(module):
        raise UserError(
            f"{module.origin} is not NVIDIA's pyds but an unrelated package of that name: "
            f"pip uninstall pyds, then {INSTALL}"
        )
    numpy = find_module("numpy")
    if numpy is not None and int(numpy.version.partition(".")[0]) >= 2:
        raise UserError(
            f"pyds is built for numpy 1, here is {numpy.version}: pip install 'numpy<2'"
        )
    try:
        pyds = importlib.import_module("pyds")
    except ImportError as error:
        raise UserError(f"pyds cannot be loaded: {error}: {INSTALL}") from error
    lacking = [name for name in PYDS_NEEDS if not hasattr(pyds, name)]
    if lacking:
        raise UserError(f"pyds lacks {', '.join(lacking)}: expected 1.1.11 or newer")
    return pyds


@contextmanager
def checked_config(
    path: Path | None, repository: Path, model: str, url: str, tensors: bool, jetson: bool
) -> Iterator[tuple[Card, Path]]:
    """The model's card, and nvinferserver's config for it: `path`, or one made of the card.

    The one that is made lives as long as `with` does: with the model in this process, or with
    `url` (HOST:PORT) in a server of its own.

    Raises:
        UserError: no such model, no plan, a config that does not fit the card, or no server at
            the address that it names.
    """
    card = read_model_card(repository, model)
    check_config(repository / model / "config.pbtxt", card)
    if path is not None:
        _check(path, repository, card, model, tensors)
        yield card, path.absolute()
        return
    with TemporaryDirectory(prefix="xpnet-") as folder:
        made = Path(folder) / "nvinferserver.txt"
        (Path(folder) / LABELS).write_text("polyp\n", encoding="utf-8")
        made.write_text(_config_of(card, repository, model, url, tensors, jetson), encoding="utf-8")
        _check(made, repository, card, model, tensors)
        yield card, made


def _config_of(
    card: Card, repository: Path, model: str, url: str, tensors: bool, jetson: bool
) -> str:
    if url:
        text = over_grpc(card, 1, Server.of(url, jetson), LABELS, tensors)
    else:
        text = in_process(card, 1, str(repository.absolute()), LABELS, tensors)
    control = nvinferserver_schema.parse(text, model)
    control.infer_config.backend.triton.model_name = model  # a card serves the plan and the ONNX
    return nvinferserver_schema.to_text(control)


def _check(path: Path, repository: Path, card: Card, model: str, tensors: bool) -> None:
    """Against NVIDIA's schema, the card and its server; and that it leaves what the probe reads."""
    Checker(repository).check(path)
    control = nvinferserver_schema.parse(path.read_text(encoding="utf-8"), str(path))
    served = control.infer_config.backend.triton.model_name
    if served != model:
        raise UserError(f"{path}: serves {served}, expected {model}")
    if tensors and not control.output_control.output_tensor_meta:
        raise UserError(
            f"{path}: --probabilities needs output_control {{output_tensor_meta: true}}"
        )
    if not tensors and not control.infer_config.postprocess.HasField("segmentation"):
        raise UserError(f"{path}: no postprocess {{segmentation}}: it makes no masks")
    interval = control.input_control.interval
    if interval:
        raise UserError(
            f"{path}: interval {interval}, expected 0: --mode latest --interval {interval} leaves "
            "frames out"
        )
    url = control.infer_config.backend.triton.grpc.url
    if url:
        check_served(url, model, card)


def has_hardware_encoder() -> bool:
    """Whether NVENC is here: the element opens its device. An Orin Nano has the element alone."""
    encoder = Gst.ElementFactory.make("nvv4l2h264enc")
    if encoder is None:
        return False
    try:
        return bool(encoder.set_state(Gst.State.READY) != Gst.StateChangeReturn.FAILURE)
    finally:
        encoder.set_state(Gst.State.NULL)
