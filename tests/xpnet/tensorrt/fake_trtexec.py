"""Takes trtexec's place in tests: its options, its files, its words; computes with ONNX Runtime.

It knows the options that NVIDIA's sampleOptions.cpp of its version knows, and refuses others as
trtexec does. NUMBER (100600 is 10.6.0), MOOD (what goes wrong) and LOG (of calls) are set where it
is put.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time

import numpy as np

NUMBER, MOOD, LOG = 100600, "", ""
KNOWN = {
    "help", "onnx", "saveEngine", "loadEngine", "minShapes", "optShapes", "maxShapes", "shapes",
    "stronglyTyped", "skipInference", "timingCacheFile", "useDLACore", "allowGPUFallback",
    "loadInputs", "exportOutput", "exportTimes", "useCudaGraph", "duration",
}  # fmt: skip


def fail(word: str) -> None:
    print(f"[11/24/2026-12:00:00] [E] {word}")
    print(f"&&&& FAILED TensorRT.trtexec [TensorRT v{NUMBER}] # trtexec")
    sys.exit(1)


def build(options: dict[str, str]) -> None:
    if NUMBER < 110000 and "useDLACore" in options and "stronglyTyped" in options:
        fail(
            "Error[3]: IBuilder::buildSerializedNetwork: Error Code 3: API Usage Error (Parameter "
            "check failed, condition: !config.getFlag(BuilderFlag::kFP16). )"
        )
    if "slow" in MOOD:
        with open(options["saveEngine"], "w") as half:
            half.write("half a plan")
        time.sleep(60)
    with open(f"{options['timingCacheFile']}.lock", "w"):  # which it leaves there
        pass
    with open(options["timingCacheFile"], "a") as timings:
        timings.write("a build;")
    shutil.copy(options["onnx"], options["saveEngine"])


def run(options: dict[str, str]) -> None:
    import onnxruntime

    name, _, path = options["loadInputs"].partition(":")
    shape = [int(n) for n in options["shapes"].partition(":")[2].split("x")]
    given = np.fromfile(path, np.float32).reshape(shape)
    with open(options["loadEngine"], "rb") as plan:
        session = onnxruntime.InferenceSession(plan.read(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {name: given})
    if "wrong" in MOOD or ("bad-int8" in MOOD and "int8" in options["loadEngine"]):
        found = 1 - found
    if "nan" in MOOD:
        found[0, 0, 0, 0] = np.nan
    dims = "x".join(map(str, found.shape))
    row = {"name": "probabilities", "dimensions": dims, "values": found.ravel().tolist()}
    with open(options["exportOutput"], "w") as out:
        out.write(json.dumps([row]).replace("NaN", "nan"))  # as C++ writes it
    ms = 1.0 if "int8" in options["loadEngine"] else 2.0
    with open(options["exportTimes"], "w") as out:
        json.dump([{"latencyMs": ms + more} for more in (-0.5, 0.5, 0.0)], out)


def main() -> None:
    options = dict(word.lstrip("-").partition("=")[::2] for word in sys.argv[1:])
    print(f"&&&& RUNNING TensorRT.trtexec [TensorRT v{NUMBER}] [b26] # trtexec", flush=True)
    with open(LOG, "a") as log:
        print(json.dumps(options), file=log)
    more = {"includeDataTransfers"} if NUMBER >= 110000 else set()
    for name in options.keys() - KNOWN - more:
        fail(f"Unknown option: --{name} {options[name]}")
    if "no-gpu" in MOOD and "help" not in options:
        print("[11/24/2026-12:00:00] [I] === Device Information ===")
        sys.exit("Cuda failure: no CUDA-capable device is detected")
    if "killed" in MOOD and "onnx" in options:
        os.kill(os.getpid(), signal.SIGKILL)
    if "crashes" in MOOD and "onnx" in options:
        print("terminate called after throwing an instance of 'std::bad_alloc'", flush=True)
        os.kill(os.getpid(), signal.SIGABRT)
    if "fails" in MOOD and "onnx" in options:
        fail("Error[4]: no such tactic")
    if "onnx" in options:
        build(options)
    elif "loadEngine" in options:
        run(options)


if __name__ == "__main__":
    main()
