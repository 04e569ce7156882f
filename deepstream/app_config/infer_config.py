"""Configs of nvinferserver and nvinfer, generated from a model's card.

Three ways lead to the same mask: nvinferserver with the plan in its own process (Triton's C API),
nvinferserver with a separate tritonserver over gRPC, and nvinfer without Triton. The built-in
segmentation parsers return class 0 if the one channel is above the threshold, else -1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from deepstream.app_config import key_files
from deepstream.app_config.key_tables import NVINFER
from deepstream.app_config.nvinferserver_schema import empty_plugin_control, to_text
from xpnet.addresses import check_server, is_loopback
from xpnet.card import Card, TensorSpec
from xpnet.errors import UserError

UNIQUE_ID = 1
SUPER_SAMPLING, SCALE_ON_GPU = 3, 1
"""NvBufSurfTransformInter_Algo2 is super-sampling on the GPU (nvbufsurftransform.h): it averages
areas, as `xpnet.frames.resize_frame` does; bilinear shrinking would alias and lose masks."""
OUTPUT_BUFFERS, TENSOR_META_BUFFERS = 4, 32
"""Number of output tensors; the plugin's default is 2 (nvdsinferserver_config.proto). The second
number applies if frames carry the tensors through the graph: inference waits for a free tensor, and
an encoder that waits for its next frame would then wait forever."""
DTYPES = {"float32": "TENSOR_DT_FP32"}
ORDERS = {"NCHW": "TENSOR_ORDER_LINEAR"}
FORMATS = {"RGB": ("IMAGE_FORMAT_RGB", 0)}
"""MediaFormat and nvinfer's model-color-format by the card's order of colours."""
SEGMENTATION = 2
"""NvDsInferNetworkType_Segmentation (nvdsinfer_context.h)."""
FP16 = 2
"""NvDsInferNetworkMode_FP16: what nvinfer builds from the ONNX file if the plan is missing."""


@dataclass(frozen=True)
class Server:
    """The tritonserver that answers over gRPC, and whether it may read our CUDA buffers."""

    url: str
    share_cuda: bool

    @classmethod
    def of(cls, url: str, jetson: bool) -> Server:
        """Return the server at an address.

        CUDA buffers are shared on the same machine only, and not on a Jetson
        (nvdsinferserver_config.proto).

        Args:
            url: HOST:PORT.
            jetson: Whether this machine is a Jetson.

        Raises:
            UserError: The address has another form.
        """
        check_server(url, "--url")
        return cls(url, is_loopback(url) and not jetson)


@dataclass(frozen=True)
class Property:
    """nvinfer's `[property]`: the fields are its keys."""

    gie_unique_id: int
    process_mode: int  # 1: whole frames
    network_type: int
    onnx_file: str
    model_engine_file: str
    labelfile_path: str
    batch_size: int
    infer_dims: tuple[int, ...]
    net_scale_factor: float
    model_color_format: int
    maintain_aspect_ratio: int
    scaling_filter: int
    scaling_compute_hw: int
    network_mode: int
    output_blob_names: str
    num_detected_classes: int
    segmentation_threshold: float


def scale_factor(tensor: TensorSpec) -> float:
    """Return the factor from pixels of 0 to 255 to the tensor's range, which must start at 0."""
    low, high = tensor.value_range
    if low != 0:
        raise UserError(f"{tensor.name}: range {low} to {high}, expected one that starts at 0")
    return high / 255


def check_size(what: str, height: int, width: int, card: Card) -> None:
    """Check that frames are not smaller than the network's input: super-sampling only shrinks.

    Args:
        what: Names the frames in the message.
        height: Their height in pixels.
        width: Their width in pixels.
        card: The model's card.

    Raises:
        UserError: They are smaller.
    """
    if height < card.input.height or width < card.input.width:
        raise UserError(
            f"{what} {width}x{height}, expected {card.input.width}x{card.input.height} or more: "
            f"{card.name} averages areas, it does not enlarge"
        )


def in_process(card: Card, batch: int, repository: str, labels: str, probabilities: bool) -> str:
    """Return nvinferserver's config with the plan in its own process.

    Args:
        card: The model's card.
        batch: Frames in a batch.
        repository: The Triton model repository.
        labels: Name of the label file.
        probabilities: Whether to attach the probabilities as NvDsInferTensorMeta, too.
    """
    control = _control(card, batch, labels, probabilities)
    repo = control.infer_config.backend.triton.model_repo
    repo.root.append(repository)
    repo.strict_model_config = True  # use the generated config.pbtxt, do not guess one
    repo.log_level = 1  # errors and warnings
    return to_text(control)


def over_grpc(card: Card, batch: int, server: Server, labels: str, probabilities: bool) -> str:
    """Return nvinferserver's config with the plan in a separate server; see `in_process`."""
    control = _control(card, batch, labels, probabilities)
    grpc = control.infer_config.backend.triton.grpc
    grpc.url = server.url
    grpc.enable_cuda_buffer_sharing = server.share_cuda
    return to_text(control)


def without_triton(card: Card, batch: int, onnx: str, plan: str, labels: str) -> str:
    """Return nvinfer's config: the plan, and the ONNX file to build one from if it is missing."""
    settings = Property(
        gie_unique_id=UNIQUE_ID,
        process_mode=1,
        network_type=SEGMENTATION,
        onnx_file=onnx,
        model_engine_file=plan,
        labelfile_path=labels,
        batch_size=batch,
        infer_dims=card.input.shape[1:],
        net_scale_factor=scale_factor(card.input),
        model_color_format=FORMATS[card.input.colours][1],
        maintain_aspect_ratio=0,
        scaling_filter=SUPER_SAMPLING,
        scaling_compute_hw=SCALE_ON_GPU,
        network_mode=FP16,
        output_blob_names=card.output.name,
        num_detected_classes=card.output.shape[1],
        segmentation_threshold=card.threshold,
    )
    return key_files.write([("property", settings)], NVINFER)


def _control(card: Card, batch: int, labels: str, probabilities: bool) -> Any:
    """Return what both modes of nvinferserver share."""
    control = empty_plugin_control()
    infer = control.infer_config
    infer.unique_id, infer.max_batch_size = UNIQUE_ID, batch
    infer.gpu_ids.append(0)
    triton = infer.backend.triton
    triton.model_name, triton.version = card.name, -1
    infer.backend.inputs.add(
        name=card.input.name, dims=card.input.shape[1:], data_type=DTYPES[card.input.dtype]
    )
    infer.backend.outputs.add(name=card.output.name)
    before = infer.preprocess
    before.network_format = FORMATS[card.input.colours][0]
    before.tensor_order = ORDERS[card.input.layout]
    before.tensor_name = card.input.name
    before.maintain_aspect_ratio = 0
    before.frame_scaling_hw = "FRAME_SCALING_HW_GPU"
    before.frame_scaling_filter = SUPER_SAMPLING
    before.normalize.scale_factor = scale_factor(card.input)
    infer.postprocess.labelfile_path = labels
    infer.postprocess.segmentation.threshold = card.threshold
    infer.postprocess.segmentation.num_segmentation_classes = card.output.shape[1]
    infer.extra.output_buffer_pool_size = TENSOR_META_BUFFERS if probabilities else OUTPUT_BUFFERS
    control.input_control.process_mode = "PROCESS_MODE_FULL_FRAME"
    if probabilities:
        control.output_control.output_tensor_meta = True
    return control


def plan_command(card: Card, target: str = "rtx|jetson") -> str:
    """Return the command that builds a model's plan on the target."""
    return f"xpnet build --target {target} --model {card.name}"
