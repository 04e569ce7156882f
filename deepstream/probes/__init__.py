"""Pad probes: pass frames to inference, draw masks, list polyps.

base.py           guard and statistics that all probes share
triton_probe.py   plain GStreamer: submit frames to inference, draw the masks
nvds_probe.py     DeepStream: read nvinferserver's metadata with pyds, draw the masks
nvds_objects.py   DeepStream: attach polyps as objects
servicemaker_probe.py  DeepStream: the same with pyservicemaker; nvdsosd draws contours
class_masks.py    DeepStream: nvinferserver's class map as a mask, also for skipped frames
polyp_results.py  polyps as JSON lines, callbacks and bus messages
pixels.py         pixels and timestamps of a buffer
video_frame.py    formats of frames, their planes, conversion to RGB
"""
