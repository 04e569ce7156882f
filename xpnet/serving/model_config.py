"""The config.pbtxt of every model in the repository, generated from the card.

Each network NAME is in the repository twice: NAME is a TensorRT plan, NAME_onnx runs on ONNX
Runtime. The files are checked in, and a test compares them with the generator's output. Fields:
Triton's model_config.proto, which tritonclient contains.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from xpnet.card import MAX_BATCH, Card
from xpnet.errors import UserError, not_installed
from xpnet.paths import setup_command
from xpnet.serving.cpu_runtimes import AUTO

DEFAULT_MODEL = "xpnet_lite_onnx"
"""The model that commands use by default, and that `xpnet_frame` calls."""
DEFAULT_PLAN = "xpnet_lite"
"""The default model on DeepStream, a TensorRT plan."""
FRAME_MODEL = "xpnet_frame"
"""The model that takes whole frames and calls DEFAULT_MODEL."""
HEADER = (
    "# Made from card.json by `xpnet export`: change the card or the generator, not this file.\n"
)


def plan_config(card: Card) -> str:
    """Return the configuration of a TensorRT plan, `xpnet` or `xpnet_lite`.

    Args:
        card: The plan's card.
    """
    config = _network(card, card.name)
    config.platform = "tensorrt_plan"
    config.default_model_filename = "model.plan"
    group = config.instance_group.add(count=1, kind=_proto().ModelInstanceGroup.KIND_GPU)
    if card.graph.get("dla") is not None:
        accelerator = _proto().ModelInstanceGroup.SecondaryDevice.KIND_NVDLA
        group.secondary_devices.add(kind=accelerator, device_id=card.graph["dla"])
    else:  # CUDA graphs and a DLA exclude each other (NVIDIA's sampleOptions.cpp)
        config.optimization.cuda.graphs = True
    return _text(config)


def onnx_config(card: Card) -> str:
    """Return the configuration of an ONNX model for ONNX Runtime.

    Args:
        card: The ONNX file's card.
    """
    config = _network(card, onnx_name(card))
    config.backend = "onnxruntime"
    config.default_model_filename = "model.onnx"
    config.instance_group.add(count=1, kind=_proto().ModelInstanceGroup.KIND_CPU)
    config.parameters["intra_op_thread_count"].string_value = "0"  # 0: one for each core
    # Read by our own backend only: the faster runtime of the machine that serves.
    config.parameters["cpu_runtime"].string_value = AUTO
    return _text(config)


def frame_config(model: str) -> str:
    """Return the configuration of `xpnet_frame`: uint8 frames in, uint8 masks of the same size out.

    Args:
        model: The model that computes the masks.
    """
    proto = _proto()
    config = proto.ModelConfig(name=FRAME_MODEL, backend="python", max_batch_size=0)
    config.input.add(name="frame", data_type=proto.TYPE_UINT8, dims=[-1, -1, 3])
    config.output.add(name="mask", data_type=proto.TYPE_UINT8, dims=[-1, -1])
    # Two instances: one scales its frame while the other waits for the network.
    config.instance_group.add(count=2, kind=proto.ModelInstanceGroup.KIND_CPU)
    config.parameters["model"].string_value = model
    return _text(config)


def parse_config(path: Path) -> Any:
    """Parse a config.pbtxt with Triton's own protobuf, as the server does.

    Args:
        path: A config.pbtxt.

    Returns:
        A `ModelConfig` message (model_config.proto).

    Raises:
        UserError: The file is missing or cannot be parsed.
    """
    from google.protobuf import text_format

    config = _proto().ModelConfig()
    try:
        text_format.Parse(path.read_text(encoding="utf-8"), config)
    except (OSError, UnicodeDecodeError, text_format.ParseError) as error:
        raise UserError(f"{path}: not a Triton model configuration: {error}") from error
    return config


def check_config(path: Path, card: Card) -> None:
    """Check that the tensors of a config.pbtxt are those of the card.

    Args:
        path: The config.pbtxt.
        card: The model's card.

    Raises:
        UserError: The file cannot be read, or its tensors differ from the card's.
    """
    config = parse_config(path)
    for tensor, entries in ((card.input, config.input), (card.output, config.output)):
        expected = f"{tensor.name} {' x '.join(map(str, tensor.shape[1:]))}"
        found = [f"{entry.name} {' x '.join(map(str, entry.dims))}" for entry in entries]
        if found != [expected]:
            raise UserError(
                f"{path}: {', '.join(found) or 'no tensor'}, expected {expected} as in its card"
            )


def onnx_name(card: Card) -> str:
    """Return the name under which the ONNX file of a network is served."""
    return f"{card.name}_onnx"


def _network(card: Card, name: str) -> Any:
    """Return what plan and ONNX model share: the card's tensors, dynamic batching without delay."""
    proto = _proto()
    config = proto.ModelConfig(name=name, max_batch_size=card.graph.get("max_batch", MAX_BATCH))
    dtype = {"float32": proto.TYPE_FP32}
    config.input.add(
        name=card.input.name, data_type=dtype[card.input.dtype], dims=card.input.shape[1:]
    )
    config.output.add(
        name=card.output.name, data_type=dtype[card.output.dtype], dims=card.output.shape[1:]
    )
    # A frame never waits for a batch: only requests that are queued anyway share one.
    config.dynamic_batching.max_queue_delay_microseconds = 0
    return config


def _text(config: Any) -> str:
    from google.protobuf import text_format

    return HEADER + text_format.MessageToString(config)


def _proto() -> Any:
    try:
        from tritonclient.grpc import model_config_pb2
    except ImportError as error:
        raise not_installed("tritonclient", "the model repository", setup_command()) from error
    return model_config_pb2
