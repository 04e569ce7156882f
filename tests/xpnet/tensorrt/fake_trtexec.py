"""A fake trtexec with the real program's options, files and messages; it uses ONNX Runtime.

It accepts the options of trtexec of its version (NVIDIA's sampleOptions.cpp) and rejects others
with the message of the real program. `fake_trtexec_program` of conftest.py sets VERSION
(100600 is 10.6.0), FAILURE and LOG. FAILURE is one of:

- "slow": the build takes a minute.
- "build-error": the build ends with an error message.
- "killed", "aborted": the build ends by SIGKILL or SIGABRT.
- "no-gpu": the program ends as on a machine without a GPU.
- "wrong-output", "wrong-int8-output", "nan-output": a plan runs, but its output is wrong.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time

VERSION, FAILURE, LOG = 100600, "", ""
OPTIONS = {
    "help", "onnx", "saveEngine", "loadEngine", "minShapes", "optShapes", "maxShapes", "shapes",
    "stronglyTyped", "skipInference", "timingCacheFile", "useDLACore", "allowGPUFallback",
    "loadInputs", "exportOutput", "exportTimes", "useCudaGraph", "duration",
}  # fmt: skip


def fail(message: str) -> None:
    print(f"[11/24/2026-12:00:00] [E] {message}")
    print(f"&&&& FAILED TensorRT.trtexec [TensorRT v{VERSION}] # trtexec")
    sys.exit(1)


def build(options: dict[str, str]) -> None:
    if FAILURE == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if FAILURE == "aborted":
        print("terminate called after throwing an instance of 'std::bad_alloc'", flush=True)
        os.kill(os.getpid(), signal.SIGABRT)
    if FAILURE == "build-error":
        fail("Error[4]: no such tactic")
    if VERSION < 110000 and "useDLACore" in options and "stronglyTyped" in options:
        fail(
            "Error[3]: IBuilder::buildSerializedNetwork: Error Code 3: API Usage Error (Parameter "
            "check failed, condition: !config.getFlag(BuilderFlag::kFP16). )"
        )
    if FAILURE == "slow":
        with open(options["saveEngine"], "w") as plan:
            plan.write("half a plan")
        time.sleep(60)
    with open(f"{options['timingCacheFile']}.lock", "w"):  # trtexec does not delete it
        pass
    with open(options["timingCacheFile"], "a") as timings:
        timings.write("a build;")
    shutil.copy(options["onnx"], options["saveEngine"])


def run(options: dict[str, str]) -> None:
    import numpy as np
    import onnxruntime

    name, _, path = options["loadInputs"].partition(":")
    shape = [int(n) for n in options["shapes"].partition(":")[2].split("x")]
    tensor = np.fromfile(path, np.float32).reshape(shape)
    with open(options["loadEngine"], "rb") as plan:
        session = onnxruntime.InferenceSession(plan.read(), providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {name: tensor})
    is_int8 = "int8" in options["loadEngine"]
    if FAILURE == "wrong-output" or (FAILURE == "wrong-int8-output" and is_int8):
        output = 1 - output
    if FAILURE == "nan-output":
        output[0, 0, 0, 0] = np.nan
    dimensions = "x".join(map(str, output.shape))
    row = {"name": "probabilities", "dimensions": dimensions, "values": output.ravel().tolist()}
    with open(options["exportOutput"], "w") as file:
        file.write(json.dumps([row]).replace("NaN", "nan"))  # C++ prints NaN as nan
    median_ms = 1.0 if is_int8 else 2.0
    with open(options["exportTimes"], "w") as file:
        json.dump([{"latencyMs": median_ms + offset} for offset in (-0.5, 0.5, 0.0)], file)


def main() -> None:
    options = dict(word.lstrip("-").partition("=")[::2] for word in sys.argv[1:])
    print(f"&&&& RUNNING TensorRT.trtexec [TensorRT v{VERSION}] [b26] # trtexec", flush=True)
    with open(LOG, "a") as log:
        print(json.dumps(options), file=log)
    known = OPTIONS | ({"includeDataTransfers"} if VERSION >= 110000 else set())
    for name in options.keys() - known:
        fail(f"Unknown option: --{name} {options[name]}")
    if FAILURE == "no-gpu" and "help" not in options:
        print("[11/24/2026-12:00:00] [I] === Device Information ===")
        sys.exit("Cuda failure: no CUDA-capable device is detected")
    if "onnx" in options:
        build(options)
    elif "loadEngine" in options:
        run(options)


if __name__ == "__main__":
    main()
