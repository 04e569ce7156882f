"""What happens to a frame inside the graph: its mask is read, drawn, and told as data.

guard             whatever fails in a probe, the frame goes on
 ├─ triton_probe  plain GStreamer: asks Triton, draws what comes back
 └─ nvds_probe    DeepStream: reads what nvinferserver made, draws it
     └─ nvds_objects  polyps as NvDsObjectMeta
pixels            a buffer's pixels, in place
results           polyps as JSON lines and messages
"""
