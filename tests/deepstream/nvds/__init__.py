"""NVIDIA's own metadata libraries, driven by ctypes, and pyds's names over their structures.

pyds is on no package index; libnvds_meta.so and libnvdsgst_meta.so are (in the wheel of
nvidia-deepstream-videodecode-cu13). So the metadata in these tests is NVIDIA's own, and only the
Python names over it are ours, checked one by one against the stubs of pyds.
"""
