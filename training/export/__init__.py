"""From weights to ONNX: layer forms, FP16 and INT8 graphs, calibration."""
