"""The inference config of a deployment, generated from the model's card.

Three Triton modes produce the same mask: nvinferserver with the plan in its own process (Triton's C
API), nvinferserver with a separate tritonserver over gRPC, and nvinfer without Triton. The built-in
segmentation parsers return class 0 where the single channel is above the threshold, else -1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from deepstream.app_config import key_files
from deepstream.app_config.key_tables import NVINFER_KEYS
from deepstream.app_config.nvinferserver_schema import empty_plugin_control, to_text
from xpnet.addresses import check_server, is_loopback
from xpnet.card import Card, TensorSpec
from xpnet.errors import UserError

LABELS_FILE, LABELS_TEXT = "labels.txt", "polyp\n"
"""Name and content of the label file that every config refers to, in the config's folder."""
UNIQUE_ID = 1
SUPER_SAMPLING, SCALE_ON_GPU = 3, 1
"""NvBufSurfTransformInter_Algo2 is super-sampling on the GPU (nvbufsurftransform.h): it averages
areas, as `xpnet.frames.resize_frame` does; bilinear shrinking would alias and lose masks."""
OUTPUT_BUFFERS, OUTPUT_BUFFERS_WITH_PROBABILITIES = 4, 32
"""Number of output tensors; the plugin's default is 2 (nvdsinferserver_config.proto). More are
needed if frames carry the tensors through the graph: inference waits for a free tensor, and an
encoder that waits for its next frame would then wait forever."""
TENSOR_DTYPES = {"float32": "TENSOR_DT_FP32"}
"""TensorDataType by the card's dtype."""
TENSOR_ORDERS = {"NCHW": "TENSOR_ORDER_LINEAR"}
"""TensorOrder by the card's layout."""
MEDIA_FORMATS, COLOR_FORMATS = {"RGB": "IMAGE_FORMAT_RGB"}, {"RGB": 0}
"""MediaFormat of nvinferserver and model-color-format of nvinfer, by the card's colours."""
FULL_FRAME = 1
"""nvinfer's `process-mode` for whole frames."""
SEGMENTATION = 2
"""nvinfer's `network-type`, NvDsInferNetworkType_Segmentation (nvdsinfer_context.h)."""
FP16 = 2
"""nvinfer's `network-mode`, NvDsInferNetworkMode_FP16: the precision of the plan that nvinfer
builds from the ONNX file if the plan is missing."""


@dataclass(frozen=True)
class GrpcServer:
    """A separate tritonserver.

    Attributes:
        url: HOST:PORT of its gRPC service.
        share_cuda: Whether it reads the graph's CUDA buffers instead of receiving tensors by gRPC.
    """

    url: str
    share_cuda: bool

    @classmethod
    def at_address(cls, url: str, is_jetson: bool) -> GrpcServer:
        """Return the server at an address.

        CUDA buffers are shared on the same machine only, and not on a Jetson
        (nvdsinferserver_config.proto).

        Args:
            url: HOST:PORT.
            is_jetson: Whether the graph runs on a Jetson.

        Raises:
            UserError: The address is not HOST:PORT.
        """
        check_server(url, "--url")
        return cls(url, is_loopback(url) and not is_jetson)


@dataclass(frozen=True)
class NvinferProperty:
    """`[property]` of nvinfer's config; the fields are its keys."""

    gie_unique_id: int
    process_mode: int
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
    enable_dla: int | None = None
    use_dla_core: int | None = None


def scale_factor(tensor: TensorSpec) -> float:
    """Return the factor that scales pixels of 0 to 255 to a tensor's value range.

    Args:
        tensor: The network's input.

    Raises:
        UserError: The range does not start at 0.
    """
    low, high = tensor.value_range
    if low != 0:
        raise UserError(f"{tensor.name}: range {low} to {high}, expected one that starts at 0")
    return high / 255


def check_frame_size(source: str, height: int, width: int, card: Card) -> None:
    """Check that frames are not smaller than the network's input: super-sampling only shrinks.

    Args:
        source: The source or option of the frames, for the message.
        height: Height of the frames in pixels.
        width: Width of the frames in pixels.
        card: The model's card.

    Raises:
        UserError: The frames are smaller.
    """
    if height < card.input.height or width < card.input.width:
        raise UserError(
            f"{source} {width}x{height}, expected {card.input.width}x{card.input.height} or more: "
            f"the frames of {card.name} are shrunk by averaging areas and cannot be enlarged"
        )


def in_process_config(card: Card, batch: int, repository: str, probabilities: bool) -> str:
    """Return nvinferserver's config with the plan in its own process.

    Args:
        card: The model's card.
        batch: Number of frames in a batch.
        repository: Path of the Triton model repository.
        probabilities: Whether frames also carry the probabilities (NvDsInferTensorMeta).
    """
    control = _plugin_control(card, batch, probabilities)
    repo = control.infer_config.backend.triton.model_repo
    repo.root.append(repository)
    repo.strict_model_config = True  # use the generated config.pbtxt, do not infer one
    repo.log_level = 1  # errors and warnings
    return to_text(control)


def grpc_config(card: Card, batch: int, server: GrpcServer, probabilities: bool) -> str:
    """Return nvinferserver's config with the plan in a separate server.

    Args:
        card: The model's card.
        batch: Number of frames in a batch.
        server: The server.
        probabilities: Whether frames also carry the probabilities (NvDsInferTensorMeta).
    """
    control = _plugin_control(card, batch, probabilities)
    grpc = control.infer_config.backend.triton.grpc
    grpc.url = server.url
    grpc.enable_cuda_buffer_sharing = server.share_cuda
    return to_text(control)


def nvinfer_config(card: Card, batch: int, onnx: str, plan: str, dla: int | None) -> str:
    """Return nvinfer's config.

    Without the two keys of the DLA nvinfer loads a plan of `xpnet build --dla 1` for core 0
    (deserializeEngine in nvdsinfer_model_builder.cpp), and builds one for the GPU if there is none.

    Args:
        card: The model's card.
        batch: Number of frames in a batch.
        onnx: Path of the ONNX file; nvinfer builds the plan from it if the plan is missing.
        plan: Path of the plan.
        dla: DLA core that the plan was built for; None for the GPU.
    """
    settings = NvinferProperty(
        gie_unique_id=UNIQUE_ID,
        process_mode=FULL_FRAME,
        network_type=SEGMENTATION,
        onnx_file=onnx,
        model_engine_file=plan,
        labelfile_path=LABELS_FILE,
        batch_size=batch,
        infer_dims=card.input.shape[1:],
        net_scale_factor=scale_factor(card.input),
        model_color_format=COLOR_FORMATS[card.input.colours],
        maintain_aspect_ratio=0,
        scaling_filter=SUPER_SAMPLING,
        scaling_compute_hw=SCALE_ON_GPU,
        network_mode=FP16,
        output_blob_names=card.output.name,
        num_detected_classes=card.output.shape[1],
        segmentation_threshold=card.threshold,
        enable_dla=None if dla is None else 1,
        use_dla_core=dla,
    )
    return key_files.to_text([("property", settings)], NVINFER_KEYS)


def _plugin_control(card: Card, batch: int, probabilities: bool) -> Any:
    """Return the part of nvinferserver's config that both of its modes share."""
    control = empty_plugin_control()
    infer = control.infer_config
    infer.unique_id, infer.max_batch_size = UNIQUE_ID, batch
    infer.gpu_ids.append(0)
    triton = infer.backend.triton
    triton.model_name, triton.version = card.name, -1
    infer.backend.inputs.add(
        name=card.input.name, dims=card.input.shape[1:], data_type=TENSOR_DTYPES[card.input.dtype]
    )
    infer.backend.outputs.add(name=card.output.name)
    preprocess = infer.preprocess
    preprocess.network_format = MEDIA_FORMATS[card.input.colours]
    preprocess.tensor_order = TENSOR_ORDERS[card.input.layout]
    preprocess.tensor_name = card.input.name
    preprocess.maintain_aspect_ratio = 0
    preprocess.frame_scaling_hw = "FRAME_SCALING_HW_GPU"
    preprocess.frame_scaling_filter = SUPER_SAMPLING
    preprocess.normalize.scale_factor = scale_factor(card.input)
    infer.postprocess.labelfile_path = LABELS_FILE
    infer.postprocess.segmentation.threshold = card.threshold
    infer.postprocess.segmentation.num_segmentation_classes = card.output.shape[1]
    infer.extra.output_buffer_pool_size = (
        OUTPUT_BUFFERS_WITH_PROBABILITIES if probabilities else OUTPUT_BUFFERS
    )
    control.input_control.process_mode = "PROCESS_MODE_FULL_FRAME"
    if probabilities:
        control.output_control.output_tensor_meta = True
    return control


def build_command(model: str, target: str = "rtx|jetson") -> str:
    """Return the command that builds a model's plan on the target."""
    return f"xpnet build --target {target} --model {model}"
