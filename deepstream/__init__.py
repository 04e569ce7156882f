"""The video graph: source, inference, overlay probe, sink, on two platforms.

On a machine without NVIDIA's elements it is plain GStreamer with inference through Triton; with
them it is DeepStream with nvinferserver. One function describes both (deepstream/graph/pipeline.py).

    run            `xpnet run`
     ├─ preflight  what must be there, one line each
     ├─ source     a file, images, RTSP; capture: V4L2 and SDI; rate: frames a second
     ├─ output     a file, the screen; rtsp: an address of our own
     ├─ graph      description (rows of platforms' tables), building; drawing: its picture
     │   └─ probes/    masks, read, drawn, told as data
     └─ player     plays it to its end; live: sources that break off; statistics: what was measured
    carts/         the files of `xpnet deploy` for NVIDIA's deepstream-app, written into configs/
"""
