"""Pad probes: pass frames to inference, draw masks, list polyps.

base.py           guard and statistics that all probes share
triton_probe.py   plain GStreamer: submit frames to inference, draw the masks
nvds_probe.py     DeepStream: read nvinferserver's metadata, draw the masks
nvds_objects.py   DeepStream: attach polyps as objects
polyp_results.py  polyps as JSON lines, callbacks and bus messages
pixels.py         pixels and timestamps of a buffer
video_frame.py    formats of frames, their planes, conversion to RGB
"""
