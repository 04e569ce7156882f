"""What the documents claim, as one table: the sentence, where it stands, how it is checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from xpnet.diagnostics import cpu_checks, gpu_checks
from xpnet.diagnostics.check_context import Site


@dataclass(frozen=True)
class Claim:
    """One sentence that holds on a machine or does not.

    `said` are words of the page `where`, so that a test can find them there; `how` is what the
    check does, in words.
    """

    id: str
    sentence: str
    where: str
    said: str
    how: str
    check: Callable[[Site], tuple[bool, str]]


PAGE = "docs/verification.md"
CLAIMS = (
    Claim(
        "reference-masks",
        "ONNX Runtime computes the stored masks of the demo clip",
        PAGE,
        "ONNX Runtime computes the stored masks",
        "each ONNX model on four frames, in this process, against stored masks",
        cpu_checks.reference_masks,
    ),
    Claim(
        "served-masks",
        "The runtime that serves on this machine marks the same as ONNX Runtime",
        PAGE,
        "The runtime that serves here marks the same",
        "each ONNX model on the same frames by the runtime that the server takes here",
        cpu_checks.served_masks,
    ),
    Claim(
        "triton-masks",
        "Triton serves every model with the masks that the network computes in process",
        "docs/serving.md",
        "waits until every model is ready",
        "every model of a server started here, over gRPC, against stored masks",
        cpu_checks.triton_masks,
    ),
    Claim(
        "loopback",
        "The server listens on 127.0.0.1 unless it is told otherwise",
        "docs/serving.md",
        "It listens on 127.0.0.1 unless",
        "the listening sockets of that server, from /proc/net",
        cpu_checks.loopback,
    ),
    Claim(
        "graph-masks",
        "In mode every, each frame of a clip is shown with its own mask",
        "docs/running.md",
        "its own mask",
        "xpnet run on the demo clip; masks read back from the video it wrote",
        cpu_checks.graph_masks,
    ),
    Claim(
        "nothing-else-written",
        "Nothing is recorded unless an output is named",
        "README.md",
        "Nothing is recorded or sent unless you name an output",
        "the files in the folder that this run was started in",
        cpu_checks.nothing_else_written,
    ),
    Claim(
        "clip-rate",
        "In mode latest a clip is shown at its own rate",
        "docs/running.md",
        "the clip's",
        "xpnet run --mode latest on the demo clip",
        cpu_checks.clip_rate,
    ),
    Claim(
        "video-goes-on",
        "When the server dies, the video goes on without masks",
        "README.md",
        "the **video continues** without masks",
        "the server of a run is killed half-way; the frames of its output are counted",
        cpu_checks.video_goes_on,
    ),
    Claim(
        "triton-overhead",
        "Triton over gRPC and shared memory adds at most 3 ms to a frame",
        "docs/serving-speed.md",
        "at most 3 ms",
        "perf_analyzer and this process by turns, two requests at a time",
        cpu_checks.triton_overhead,
    ),
    Claim(
        "plans",
        "TensorRT plans built here mark what ONNX Runtime marks",
        PAGE,
        "plans built here mark what ONNX Runtime marks",
        "xpnet build of every plan, checked on eight frames",
        gpu_checks.plans,
    ),
    Claim(
        "cuda-graphs",
        "The plans run with CUDA graphs",
        PAGE,
        "run with CUDA graphs",
        "trtexec --useCudaGraph on each plan",
        gpu_checks.cuda_graphs,
    ),
    Claim(
        "deepstream-graph",
        "Our graph on DeepStream marks what ONNX Runtime marks",
        PAGE,
        "Our graph on DeepStream",
        "xpnet run --platform deepstream on the demo clip; masks read back from its video",
        gpu_checks.deepstream_graph,
    ),
    Claim(
        "deepstream-app",
        "NVIDIA's deepstream-app runs the files of xpnet deploy",
        PAGE,
        "NVIDIA's deepstream-app",
        "deepstream-app on the demo clip; where its video differs from the clip",
        gpu_checks.deepstream_app,
    ),
    Claim(
        "gpu-tests",
        "The tests marked gpu pass",
        PAGE,
        "tests marked gpu",
        "pytest -m gpu",
        gpu_checks.gpu_tests,
    ),
)
