"""The groups and keys that deepstream-app and nvinfer accept, with the type of each value.

Value types: `deepstream.app_config.key_files.KeyTable`. Source: DeepStream 9.1
(github.com/NVIDIA/DeepStream, July 2026):
`src/apps/common/src/deepstream_config_file_parser.c`,
`src/apps/sample_apps/deepstream-app/deepstream_app_config_parser.c`,
`src/gst-plugins/gst-nvinfer/gstnvinfer_property_parser.cpp`, and the enums in
`deepstream_sources.h`, `deepstream_sinks.h`, `deepstream_gie.h` and `nvdsinfer_context.h`.
deepstream-app only warns of an unknown key and ignores an unknown group; our check refuses both.
It also refuses what their parsers no longer read, such as nvinfer's `is-classifier`, and a value
that they accept but cannot use, such as a source of type 9 (create_multi_source_bin in
deepstream_source_bin.c).
"""

from __future__ import annotations

from deepstream.app_config.key_files import parse_table

_MEMORY = "nvbuf-memory-type:0|1|2|3|4 gpu-id:int"
_GIE = f"""
    enable:0|1 plugin-type:0|1|2|3 batch-size:int interval:int gie-unique-id:int
    operate-on-gie-id:int operate-on-class-ids:ints config-file:path model-engine-file:path
    labelfile-path:path infer-raw-output-dir:path input-tensor-meta:bool bbox-border-color:floats
    bbox-border-colorN:floats bbox-bg-color:floats bbox-bg-colorN:floats audio-transform:str
    audio-framesize:int audio-hopsize:int audio-input-rate:int model-variant:str device:str
    min-crop-size:int verbose:int backend:str triton-url:str triton-model:str {_MEMORY}
"""
_SOURCE = f"""
    enable:0|1 type:1|2|3|4|5|6|7|8 camera-width:int camera-height:int camera-fps-n:int
    camera-fps-d:int camera-csi-sensor-id:int camera-v4l2-dev-node:int alsa-device:str
    udp-buffer-size:int sensorID-padID-mapping:bool video-format:str uri:uri latency:int
    num-sources:int num-decode-surfaces:int num-extra-surfaces:int drop-frame-interval:int
    drop-on-latency:0|1 camera-id:int rtsp-reconnect-interval-sec:int
    init-rtsp-reconnect-interval-sec:int rtsp-reconnect-attempts:int simulate-fps-interval-ms:int
    intra-decode-enable:0|1 low-latency-decode:0|1 cudadec-memtype:0|1|2 select-rtp-protocol:0|4|7
    set-rtp-protocol:0|4|7 leaky:0|1|2 max-size-buffers:int buffer-mode:int source-id:int
    smart-record:0|1|2 smart-rec-dir-path:out smart-rec-file-prefix:str smart-rec-video-cache:int
    smart-rec-cache:int smart-rec-container:0|1 smart-rec-start-time:int
    smart-rec-default-duration:int smart-rec-duration:int smart-rec-interval:int
    extract-sei-type5-data:0|1 copy-hw:0|1|2 {_MEMORY}
"""
_MESSAGES = """
    msg-conv-config:path msg-conv-payload-type:int msg-conv-msg2p-lib:path msg-conv-comp-id:int
    debug-payload-dir:path multiple-payloads:bool msg-conv-msg2p-new-api:bool
    msg-conv-frame-interval:int msg-conv-dummy-payload:bool msg-conv-embedding-filter:str
"""

DEEPSTREAM_APP_KEYS = parse_table(
    {
        "application": """
            enable-perf-measurement:0|1 perf-measurement-interval-sec:int gie-kitti-output-dir:out
            kitti-track-output-dir:out reid-track-output-dir:out terminated-track-output-dir:out
            shadow-track-output-dir:out global-gpu-id:int
        """,
        "sourceN": _SOURCE,
        "source-attr-all": _SOURCE,
        "source-list": """
            num-source-bins:int list:strs sensor-id-list:strs sensor-name-list:strs
            use-nvmultiurisrcbin:bool stream-name-display:bool http-ip:str http-port:str
            max-batch-size:int sgie-batch-size:int dummy-payload:bool custom-ts-to-rfc:bool
            batched-sensor-name:str extract-sei-type5-data:0|1 low-latency-mode:0|1 sei-uuid:str
            enable-error-propagation:bool proto-lib:str conn-str:str topic:str
        """,
        "streammux": f"""
            width:int height:int batch-size:int live-source:0|1 batched-push-timeout:int
            buffer-pool-size:int enable-padding:0|1 compute-hw:0|1|2 sort-batch:bool
            cache-buffer:bool cache-buffer-timeout:int sync-inputs:0|1 sync-inputs-ntp:0|1
            max-latency:int frame-duration:int attach-sys-ts-as-ntp:0|1
            frame-num-reset-on-stream-reset:bool frame-num-reset-on-eos:bool async-process:bool
            drop-pipeline-eos:bool num-surfaces-per-frame:int config-file-path:path
            extract-sei-type5-data:0|1 extract-sei-sim-time:0|1 align-first-buffer:0|1
            failsafe-flush-count:int drop-backward-sei:0|1 {_MEMORY}
        """,
        "primary-gie": _GIE,
        "secondary-gieN": _GIE,
        "segvisual": f"enable:0|1 batch-size:int width:int height:int {_MEMORY}",
        "osd": f"""
            enable:0|1 process-mode:0|1|2 border-width:int text-size:int text-color:floats
            text-bg-color:floats font:str show-clock:0|1 clock-x-offset:int clock-y-offset:int
            clock-text-size:int clock-color:floats hw-blend-color-attr:str display-text:bool
            display-bbox:bool display-mask:bool {_MEMORY}
        """,
        "tiled-display": f"""
            enable:0|1|2 rows:int columns:int width:int height:int compute-hw:0|1|2
            buffer-pool-size:int square-seq-grid:bool {_MEMORY}
        """,
        "sinkN": f"""
            enable:0|1 type:1|2|3|4|5|6 link-to-demux:0|1 nvdslogger:bool show-fps:bool
            show-latency:bool width:int height:int qos:bool sync:0|1 container:1|2 codec:1|2|3
            enc-type:0|1 copy-meta:0|1 output-io-mode:2|5 sw-preset:int bitrate:int profile:0|1|2|4
            iframeinterval:int output-file:out source-id:int rtsp-port:int udp-port:int
            udp-buffer-size:int color-range:int conn-id:int plane-id:int set-mode:0|1
            compute-hw:0|1|2 msg-broker-proto-lib:str msg-broker-conn-str:str topic:str
            msg-broker-config:path msg-broker-comp-id:int disable-msgconv:0|1 new-api:bool
            sleep-time:int {_MESSAGES} {_MEMORY}
        """,
        "tests": "file-loop:0|1 pipeline-recreate-sec:int",
        "tracker": """
            enable:0|1 tracker-width:int tracker-height:int gpu-id:int tracker-surface-type:int
            ll-config-file:path ll-lib-file:path tracking-surface-type:int
            display-tracking-id:0|1 tracking-id-reset-mode:int input-tensor-meta:bool
            tensor-meta-gie-id:int compute-hw:0|1|2 user-meta-pool-size:int sub-batches:str
            sub-batch-err-recovery-trial-cnt:int operate-on-class-ids:str
        """,
        "pre-process": "enable:0|1 operate-on-gie-id:int config-file:path",
        "secondary-pre-processN": "enable:0|1 operate-on-gie-id:int config-file:path",
        "dewarperN": f"""
            enable:0|1 config-file:path num-surfaces-per-frame:int source-id:int
            num-output-buffers:int {_MEMORY}
        """,
        "nvds-analytics": "enable:0|1 config-file:path",
        "ds-example": f"""
            enable:0|1 full-frame:0|1 processing-width:int processing-height:int blur-objects:bool
            unique-id:int batch-size:int {_MEMORY}
        """,
        "message-converter": f"enable:0|1 {_MESSAGES}",
        "message-consumerN": """
            enable:0|1 config-file:path proto-lib:str conn-str:str sensor-list-file:path
            subscribe-topic-list:strs
        """,
        "visionencoder": """
            enable:0|1 model-variant:str batch-size:int device:str min-crop-size:int verbose:bool
            gpu-id:int backend:str triton-url:str triton-model:str skip-interval:int
            embedding-classes:str onnx-model:path tensorrt-engine:path smart-infer:bool
            cache-refresh-interval:int cache-max-size:int ofa-predict:bool
            ofa-motion-threshold:float ofa-high-motion-threshold:float query-only:0|1
        """,
        "text-embedder": "enable:0|1 model-name:str onnx-model-path:path tokenizer-dir:path",
        "replay": """
            enable:0|1 label-dir:path file-names:str max-frame-nums:str label-width:int
            label-height:int interval:int
        """,
        "img-save": """
            enable:0|1 gpu-id:int output-folder-path:out frame-to-skip-rules-path:str
            save-img-full-frame:float save-img-cropped-obj:float second-to-skip-interval:float
            min-confidence:float max-confidence:float min-box-width:int min-box-height:int
        """,
    }
)

_CLASS_ATTRS = """
    threshold:float pre-cluster-threshold:float post-cluster-threshold:float eps:float
    group-threshold:int minBoxes:int dbscan-min-score:float roi-top-offset:int
    roi-bottom-offset:int detected-min-w:int detected-min-h:int detected-max-w:int
    detected-max-h:int border-color:floats bg-color:floats nms-iou-threshold:float topk:int
"""

NVINFER_KEYS = parse_table(
    {
        "property": """
            gie-unique-id:int process-mode:1|2 interval:int labelfile-path:path gpu-id:int
            secondary-reinfer-interval:int output-tensor-meta:bool disable-output-host-copy:0|1
            auto-inc-mem:0|1 max-gpu-mem-per:int enable-dla:bool use-dla-core:0|1
            dump-input-tensor:0|1 dump-output-tensor:0|1 overwrite-input-tensor:0|1
            overwrite-output-tensor:0|1 ip-tensor-file:path op-tensor-files:strs
            raw-output-file-write:bool batch-size:int tensor-meta-pool-size:int
            network-mode:0|1|2|3 model-engine-file:path int8-calib-file:path workspace-size:int
            output-blob-names:strs network-type:0|1|2|3|100
            force-implicit-batch-dim:bool infer-dims:ints output-io-formats:strs
            layer-device-precision:strs model-color-format:0|1|2 net-scale-factor:float
            offsets:floats mean-file:path maintain-aspect-ratio:bool symmetric-padding:bool
            scaling-filter:0|1|2|3|4|5|6 scaling-compute-hw:0|1|2 network-input-order:0|1
            input-tensor-from-meta:bool custom-lib-path:path parse-bbox-func-name:str
            parse-bbox-instance-mask-func-name:str parse-segmentation-func-name:str
            engine-create-func-name:str parse-classifier-func-name:str custom-network-config:str
            model-file:path proto-file:path uff-file:path uff-input-order:0|1|2 input-dims:ints
            uff-input-dims:ints uff-input-blob-name:str tlt-encoded-model:path tlt-model-key:str
            onnx-file:path num-detected-classes:int enable-dbscan:bool cluster-mode:0|1|2|3|4
            crop-objects-to-roi-boundary:bool strongly-typed:bool dynamic-properties:str
            warmup-engine:bool stabilize-buffer-count:int classifier-type:str
            classifier-threshold:float classifier-async-mode:bool segmentation-threshold:float
            segmentation-output-order:0|1 output-instance-mask:bool input-object-min-width:int
            input-object-min-height:int input-object-max-width:int input-object-max-height:int
            operate-on-gie-id:int operate-on-class-ids:ints filter-out-class-ids:ints
        """,
        "class-attrs-all": _CLASS_ATTRS,
        "class-attrs-N": _CLASS_ATTRS,
    }
)
