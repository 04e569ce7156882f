"""The schema of nvinferserver's config, and functions that parse and print such configs.

The schema is built as a protobuf message, so that parsing refuses what the plugin refuses.
Messages, fields, types and enums are those of DeepStream 9.1 (github.com/NVIDIA/DeepStream, July
2026): `includes/nvdsinferserver_common.proto`, `nvdsinferserver_config.proto` and
`nvdsinferserver_plugin.proto`. tests/deepstream/app_config/test_nvinferserver_protos.py compares
them with those files on a machine that has them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Any

from deepstream.app_config.key_files import nearest_known
from xpnet.errors import UserError

PACKAGE, ROOT_MESSAGE = "xpnet", "PluginControl"
ENUMS = {
    "MediaFormat": "MEDIA_FORMAT_NONE IMAGE_FORMAT_RGB IMAGE_FORMAT_BGR IMAGE_FORMAT_GRAY",
    "TensorOrder": "TENSOR_ORDER_NONE TENSOR_ORDER_LINEAR TENSOR_ORDER_NHWC",
    "TensorDataType": """
        TENSOR_DT_NONE TENSOR_DT_FP32 TENSOR_DT_FP16 TENSOR_DT_INT8 TENSOR_DT_INT16
        TENSOR_DT_INT32 TENSOR_DT_UINT8 TENSOR_DT_UINT16 TENSOR_DT_UINT32 TENSOR_DT_FP64
        TENSOR_DT_INT64 TENSOR_DT_UINT64 TENSOR_DT_STRING
    """,
    "FrameScalingHW": "FRAME_SCALING_HW_DEFAULT FRAME_SCALING_HW_GPU FRAME_SCALING_HW_VIC",
    "MemoryType": "MEMORY_TYPE_DEFAULT MEMORY_TYPE_CPU MEMORY_TYPE_GPU",
    "ProcessMode": "PROCESS_MODE_DEFAULT PROCESS_MODE_FULL_FRAME PROCESS_MODE_CLIP_OBJECTS",
}
"""Values by enum; their numbers start at 0."""

MESSAGES = {
    "PluginControl": """
        infer_config:InferenceConfig input_control:InputControl output_control:OutputControl
    """,
    "InferenceConfig": """
        unique_id:uint32 gpu_ids:int32* max_batch_size:uint32 backend:BackendParams
        preprocess:PreProcessParams@preprocessing
        postprocess:PostProcessParams@postprocessing custom_lib:CustomLib
        extra:ExtraControl@advanced lstm:LstmParams@lstm_control
        input_tensor_from_meta:InputTensorFromMeta@preprocessing clip_object_outside_roi:bool
    """,
    "BackendParams": """
        inputs:InputLayer* outputs:OutputLayer* trt_is:TritonParams@infer_framework
        triton:TritonParams@infer_framework output_mem_type:MemoryType disable_warmup:bool
    """,
    "TritonParams": """
        model_name:string version:int64 class_params:TritonClassifyParams*
        model_repo:TritonModelRepo@server grpc:TritonGrpcParams@server
    """,
    "TritonModelRepo": """
        root:string* log_level:uint32 strict_model_config:bool tf_gpu_memory_fraction:float
        tf_disable_soft_placement:bool min_compute_capacity:float backend_dir:string
        model_control_mode:string cuda_device_memory:CudaDeviceMem*
        pinned_memory_pool_byte_size:uint64@pinned_mem backend_configs:BackendConfig*
    """,
    "BackendConfig": "backend:string setting:string value:string",
    "CudaDeviceMem": "device:uint32 memory_pool_byte_size:uint64",
    "TritonGrpcParams": "url:string enable_cuda_buffer_sharing:bool",
    "TritonClassifyParams": "topk:uint32 threshold:float tensor_name:string",
    "InputLayer": "name:string dims:int32* data_type:TensorDataType",
    "OutputLayer": "name:string max_buffer_bytes:uint64",
    "PreProcessParams": """
        network_format:MediaFormat tensor_order:TensorOrder tensor_name:string
        maintain_aspect_ratio:int32 frame_scaling_hw:FrameScalingHW frame_scaling_filter:uint32
        normalize:ScaleNormalize@preprocess_method symmetric_padding:int32
    """,
    "ScaleNormalize": "scale_factor:float channel_offsets:float* mean_file:string",
    "InputTensorFromMeta": "is_first_dim_batch:bool",
    "PostProcessParams": """
        labelfile_path:string detection:DetectionParams@process_type
        classification:ClassificationParams@process_type
        segmentation:SegmentationParams@process_type other:OtherNetworkParams@process_type
        trtis_classification:TritonClassifyParams@process_type
        triton_classification:TritonClassifyParams@process_type
    """,
    "SegmentationParams": """
        threshold:float num_segmentation_classes:int32 custom_parse_segmentation_func:string
    """,
    "ClassificationParams": "threshold:float custom_parse_classifier_func:string",
    "OtherNetworkParams": "type_name:string",
    "DetectionParams": """
        num_detected_classes:int32 per_class_params:map<int32,PerClassParams>
        custom_parse_bbox_func:string nms:Nms@clustering_policy dbscan:DbScan@clustering_policy
        group_rectangle:GroupRectangle@clustering_policy
        simple_cluster:SimpleCluster@clustering_policy
    """,
    "PerClassParams": "pre_threshold:float",
    "Nms": "confidence_threshold:float iou_threshold:float topk:int32",
    "DbScan": "pre_threshold:float eps:float=3 min_boxes:int32 min_score:float",
    "GroupRectangle": "confidence_threshold:float group_threshold:int32 eps:float",
    "SimpleCluster": "threshold:float",
    "CustomLib": "path:string",
    "ExtraControl": """
        copy_input_to_host_buffers:bool output_buffer_pool_size:int32 custom_process_funcion:string
    """,  # the last field has this spelling in NVIDIA's file
    "LstmParams": "loops:LstmLoop*",
    "LstmLoop": "input:string output:string init_const:InitConst@init_state keep_output:bool",
    "InitConst": "value:float",
    "InputControl": """
        process_mode:ProcessMode operate_on_gie_id:int32 operate_on_class_ids:int32*
        interval:uint32@inference_interval async_mode:bool
        object_control:InputObjectControl@object_filter
        secondary_reinfer_interval:uint32@inference_interval
    """,
    "InputObjectControl": "bbox_filter:BBoxFilter",
    "OutputControl": """
        output_tensor_meta:bool detect_control:OutputDetectionControl@postprocess_control
        classifier_type:string@ClassifierMeta
    """,
    "OutputDetectionControl": """
        default_filter:DetectClassFilter specific_class_filters:map<uint32,DetectClassFilter>
        filter_out_class_ids:int32*=4
    """,
    "DetectClassFilter": """
        bbox_filter:BBoxFilter roi_top_offset:uint32 roi_bottom_offset:uint32 border_color:Color
        bg_color:Color
    """,
    "BBoxFilter": "min_width:uint32 min_height:uint32 max_width:uint32 max_height:uint32",
    "Color": "r:float g:float b:float a:float",
}
"""Fields by message, as `name:type`; `*` marks a repeated field, `@x` a member of the oneof `x`.

The first field has number 1, each other field the next number, unless `=n` gives another one.
NVIDIA nests some messages in others. Here none is nested: their names are unique, and protobuf text
does not contain them."""


@dataclass(frozen=True)
class FieldSpec:
    """One field of a message.

    Attributes:
        name: Its name.
        number: Its number.
        type_name: A scalar type, a message, an enum, or `map<KEY,VALUE>`.
        repeated: Whether it is a list.
        oneof: The oneof that it belongs to, or an empty string.
    """

    name: str
    number: int
    type_name: str
    repeated: bool = False
    oneof: str = ""


def message_fields(message: str) -> list[FieldSpec]:
    """Return the fields of a message, in the order of their numbers."""
    return parse_fields(MESSAGES[message])


def parse_fields(declarations: str) -> list[FieldSpec]:
    """Parse fields in the notation of MESSAGES.

    Args:
        declarations: The fields, separated by white space.
    """
    found: list[FieldSpec] = []
    for declaration in declarations.split():
        declaration, _, number = declaration.partition("=")
        name, type_name = declaration.split(":")
        type_name, _, oneof = type_name.partition("@")
        following = found[-1].number + 1 if found else 1
        found.append(
            FieldSpec(
                name,
                int(number or following),
                type_name.rstrip("*"),
                type_name.endswith("*"),
                oneof,
            )
        )
    return found


def empty_plugin_control() -> Any:
    """Return an empty PluginControl message."""
    return _plugin_control_class()()


def parse(text: str, source: str) -> Any:
    """Parse a config in protobuf text.

    Args:
        text: The content of the config.
        source: The name of the config, for messages.

    Returns:
        The PluginControl message.

    Raises:
        UserError: A field is unknown, a value has a wrong type, two members of a oneof are set, or
            the text is not protobuf text. The message contains the line and the nearest known name.
    """
    from google.protobuf import text_format

    try:
        control = text_format.Parse(text, empty_plugin_control())
        _check_enums(control, source)
        return control
    except text_format.ParseError as error:
        line = error.GetLine()
        where = f"{source}:{line}" if line else source
        message = re.sub(r"^\d+:\d+ : ", "", str(error)).strip()
        message = message.removeprefix(f"'{text.splitlines()[line - 1] if line else ''}': ")
        raise UserError(f"{where}: {_readable(message)}") from error


def _check_enums(message: Any, source: str) -> None:
    """Check the numbers of enums: protobuf accepts any number, the plugin only known ones."""
    for field, value in message.ListFields():
        values = value if field.label == field.LABEL_REPEATED else [value]
        if field.message_type and field.message_type.GetOptions().map_entry:
            values = value.values()
        for item in values:
            if field.message_type and hasattr(item, "ListFields"):
                _check_enums(item, source)
            elif field.enum_type and item not in field.enum_type.values_by_number:
                known = ", ".join(ENUMS[field.enum_type.name].split())
                raise UserError(f"{source}: {field.name} {item}, expected {known}")


def to_text(control: Any) -> str:
    """Return a message as protobuf text."""
    from google.protobuf import text_format

    return str(text_format.MessageToString(control))


def field_names(message: str) -> list[str]:
    """Return the names of a message's fields."""
    return [field.name for field in message_fields(message)]


def _readable(message: str) -> str:
    """Return a readable form of protobuf's error message, with the nearest known name."""
    found = re.search(rf'Message type "{PACKAGE}\.(\w+)" has no field named "(\w+)"', message)
    if found:
        owner, name = found.groups()
        return f"unknown field '{name}' in {owner}{nearest_known(name, field_names(owner))}"
    found = re.search(
        rf'Enum type "{PACKAGE}\.(\w+)" has no value (?:named|with number) (\w+)', message
    )
    if found:
        enum, name = found.groups()
        values = ENUMS[enum].split()
        nearest = nearest_known(name, values) or f", expected {', '.join(values)}"
        return f"'{name}' is not a {enum}{nearest}"
    return message.replace(f"{PACKAGE}.", "")


@cache
def _plugin_control_class() -> Any:
    """Build the schema and return the class of its root message."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(
        name="nvdsinferserver_plugin.proto", package=PACKAGE, syntax="proto3"
    )
    for name, values in ENUMS.items():
        enum = file.enum_type.add(name=name)
        for number, value in enumerate(values.split()):
            enum.value.add(name=value, number=number)
    for name, fields in MESSAGES.items():
        _add_fields(file.message_type.add(name=name), fields)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{ROOT_MESSAGE}"))


def _add_fields(message: Any, fields: str) -> None:
    """Add fields, in the notation of MESSAGES, to a message's descriptor."""
    oneofs: list[str] = []
    for spec in parse_fields(fields):
        field = message.field.add(name=spec.name, number=spec.number)
        if spec.type_name.startswith("map<"):
            key, value = spec.type_name[4:-1].split(",")
            entry = message.nested_type.add(name=_entry_name(spec.name))
            entry.options.map_entry = True
            _add_fields(entry, f"key:{key} value:{value}")
            field.label, field.type = field.LABEL_REPEATED, field.TYPE_MESSAGE
            field.type_name = f".{PACKAGE}.{message.name}.{entry.name}"
            continue
        field.label = field.LABEL_REPEATED if spec.repeated else field.LABEL_OPTIONAL
        _set_type(field, spec.type_name)
        if spec.oneof:
            if spec.oneof not in oneofs:
                oneofs.append(spec.oneof)
                message.oneof_decl.add(name=spec.oneof)
            field.oneof_index = oneofs.index(spec.oneof)


def _set_type(field: Any, type_name: str) -> None:
    if type_name in MESSAGES or type_name in ENUMS:
        field.type = field.TYPE_MESSAGE if type_name in MESSAGES else field.TYPE_ENUM
        field.type_name = f".{PACKAGE}.{type_name}"
    else:
        field.type = getattr(field, f"TYPE_{type_name.upper()}")


def _entry_name(field: str) -> str:
    """Return protobuf's name of a map's entry: PerClassParamsEntry for per_class_params."""
    return "".join(x.capitalize() for x in field.split("_")) + "Entry"
