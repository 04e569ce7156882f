"""The config.pbtxt of every model in the repository, made from the card.

Each network NAME is there twice: NAME, a TensorRT plan, and NAME_onnx, for ONNX Runtime.

The files are checked in; a test makes them again and compares, so that no size can stand in two
places. Fields: Triton's model_config.proto, which tritonclient carries.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from xpnet.card import MAX_BATCH, Card
from xpnet.errors import UserError, require
from xpnet.serving.cpu_runtimes import AUTO

DEFAULT_MODEL = "xpnet_lite_onnx"
"""The model that commands take unless another is named, and that `xpnet_frame` asks."""
DEFAULT_PLAN = "xpnet_lite"
"""The same on DeepStream: the TensorRT plan."""
HEADER = (
    "# Made from card.json by `xpnet export`: change the card or the generator, not this file.\n"
)


def plan_config(card: Card) -> str:
    """`xpnet`, `xpnet_lite`: the TensorRT plan that is built on the target."""
    config = _network(card, card.name)
    config.platform = "tensorrt_plan"
    config.default_model_filename = "model.plan"
    group = config.instance_group.add(count=1, kind=_proto().ModelInstanceGroup.KIND_GPU)
    if card.graph.get("dla") is not None:
        accelerator = _proto().ModelInstanceGroup.SecondaryDevice.KIND_NVDLA
        group.secondary_devices.add(kind=accelerator, device_id=card.graph["dla"])
    else:  # CUDA graphs and an accelerator exclude each other (NVIDIA's sampleOptions.cpp)
        config.optimization.cuda.graphs = True
    return _text(config)


def onnx_config(card: Card) -> str:
    """`xpnet_onnx`, ...: ONNX Runtime, on a CPU or in NVIDIA's container, wherever it starts."""
    config = _network(card, onnx_name(card))
    config.backend = "onnxruntime"
    config.default_model_filename = "model.onnx"
    config.instance_group.add(count=1, kind=_proto().ModelInstanceGroup.KIND_CPU)
    config.parameters["intra_op_thread_count"].string_value = "0"  # 0: one for each core
    # For our own backend alone: the faster runtime of the machine that serves.
    config.parameters["cpu_runtime"].string_value = AUTO
    return _text(config)


def frame_config(model: str) -> str:
    """`xpnet_frame`: uint8 frames to uint8 masks of their size, through `model`."""
    proto = _proto()
    config = proto.ModelConfig(name="xpnet_frame", backend="python", max_batch_size=0)
    config.input.add(name="frame", data_type=proto.TYPE_UINT8, dims=[-1, -1, 3])
    config.output.add(name="mask", data_type=proto.TYPE_UINT8, dims=[-1, -1])
    # Two, so that one scales its frame while the other waits for the network.
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
    """Raises UserError where a config.pbtxt cannot be read or its tensors are not the card's."""
    config = parse_config(path)
    for tensor, entries in ((card.input, config.input), (card.output, config.output)):
        expected = f"{tensor.name} {' x '.join(map(str, tensor.shape[1:]))}"
        found = [f"{entry.name} {' x '.join(map(str, entry.dims))}" for entry in entries]
        if found != [expected]:
            raise UserError(
                f"{path}: {', '.join(found) or 'no tensor'}, but the model's card says {expected}"
            )


def largest_batch(path: Path) -> int:
    """Of a config.pbtxt. Raises UserError where it cannot be read."""
    return int(parse_config(path).max_batch_size)


def onnx_name(card: Card) -> str:
    """The name under which the ONNX file of a network is served."""
    return f"{card.name}_onnx"


def _network(card: Card, name: str) -> Any:
    """What plan and ONNX share: tensors of the card, dynamic batching without a delay."""
    proto = _proto()
    config = proto.ModelConfig(name=name, max_batch_size=card.graph.get("max_batch", MAX_BATCH))
    dtype = {"float32": proto.TYPE_FP32}
    config.input.add(
        name=card.input.name, data_type=dtype[card.input.dtype], dims=card.input.shape[1:]
    )
    config.output.add(
        name=card.output.name, data_type=dtype[card.output.dtype], dims=card.output.shape[1:]
    )
    # A frame never waits for company: only requests that queue up anyway share a batch.
    config.dynamic_batching.max_queue_delay_microseconds = 0
    return config


def _text(config: Any) -> str:
    from google.protobuf import text_format

    return HEADER + text_format.MessageToString(config)


def _proto() -> Any:
    try:
        from tritonclient.grpc import model_config_pb2
    except ImportError as error:
        raise require("tritonclient", "the model repository", "scripts/setup.sh") from error
    return model_config_pb2
