"""The claims of the documentation that `xpnet doctor verify` checks, as one table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from xpnet.diagnostics import gpu_checks, graph_checks, model_checks, server_checks
from xpnet.diagnostics.check_context import CheckContext, CheckResult


@dataclass(frozen=True)
class Claim:
    """A statement of the documentation that is true or false on a machine.

    Attributes:
        id: Name for `--only` and for the report.
        sentence: The statement.
        page: The page that documents it, from the repository's root.
        how: How the check finds out.
        check: The check.
    """

    id: str
    sentence: str
    page: str
    how: str
    check: Callable[[CheckContext], CheckResult]


CLAIMS = (
    Claim(
        "reference-masks",
        "ONNX Runtime computes the reference masks of the demo clip",
        "docs/verification.md",
        "each ONNX model on four frames, in process",
        model_checks.check_reference_masks,
    ),
    Claim(
        "served-masks",
        "The runtime that serves on this machine computes the same masks",
        "docs/verification.md",
        "each ONNX model on four frames, in process, in the runtime that the server uses here",
        model_checks.check_served_masks,
    ),
    Claim(
        "triton-masks",
        "Triton serves every model, with the same masks",
        "docs/serving.md",
        "each model of a server that is started for this, over gRPC",
        model_checks.check_triton_masks,
    ),
    Claim(
        "loopback",
        "The server listens on 127.0.0.1 by default",
        "docs/serving.md",
        "the listening sockets of that server, from /proc/net",
        server_checks.check_loopback,
    ),
    Claim(
        "graph-masks",
        "In mode every, each frame of a clip is shown with its own mask",
        "docs/running.md",
        "xpnet run on the demo clip; the masks are read from the video that it writes",
        graph_checks.check_graph_masks,
    ),
    Claim(
        "nothing-else-written",
        "Nothing is recorded except to a named output",
        "README.md",
        "the files in the working directory of that run",
        graph_checks.check_nothing_else_written,
    ),
    Claim(
        "clip-rate",
        "In mode latest, a clip is shown at its own rate",
        "docs/running.md",
        "xpnet run --mode latest on the demo clip",
        graph_checks.check_clip_rate,
    ),
    Claim(
        "video-after-server-loss",
        "If the server ends, the video continues without masks",
        "README.md",
        "the server is killed during a run; the frames of the output are counted",
        graph_checks.check_video_after_server_loss,
    ),
    Claim(
        "triton-overhead",
        "Triton over gRPC and shared memory adds at most 3 ms to a frame",
        "docs/serving-speed.md",
        "perf_analyzer and inference in process, alternately, two requests at a time",
        server_checks.check_triton_overhead,
    ),
    Claim(
        "plans",
        "TensorRT plans that are built here compute the masks of ONNX Runtime",
        "docs/verification.md",
        "xpnet build of every plan that is missing, compared on eight frames",
        gpu_checks.check_plans,
    ),
    Claim(
        "cuda-graphs",
        "The plans run with CUDA graphs",
        "docs/verification.md",
        "trtexec --useCudaGraph on each plan",
        gpu_checks.check_cuda_graphs,
    ),
    Claim(
        "deepstream-graph",
        "The graph on DeepStream draws the masks of ONNX Runtime",
        "docs/verification.md",
        "xpnet run --platform deepstream on the demo clip; the masks are read from its video",
        gpu_checks.check_deepstream_graph,
    ),
    Claim(
        "deepstream-app",
        "NVIDIA's deepstream-app runs the files of xpnet deploy",
        "docs/verification.md",
        "deepstream-app on the demo clip; the masks are where its video differs from the clip",
        gpu_checks.check_deepstream_app,
    ),
    Claim(
        "gpu-tests",
        "The tests marked gpu pass",
        "docs/verification.md",
        "pytest -m gpu",
        gpu_checks.check_gpu_tests,
    ),
)


def claims_table() -> list[str]:
    """Return the claims as a table in Markdown, for docs/verification.md."""
    rows = [f"| `{c.id}` | {c.sentence} | {c.how} |" for c in CLAIMS]
    return ["| id | claim | how it is checked |", "|---|---|---|", *rows]
