"""The comparison of runtimes: every row is measured, and the served one is marked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.conftest import one_line
from training.bench.gpu_bench import merged_forms
from training.bench.network_bench import as_markdown
from training.export.layer_forms import apply_forms, find_parts
from training.models.zoo import NETWORKS
from xpnet.serving.cpu_runtimes import computes_bf16


def test_every_runtime_is_timed(xpnet, tmp_path: Path) -> None:
    """Except torch.compile, whose compiler takes minutes on a busy machine."""
    file = tmp_path / "rows.json"
    result = xpnet("bench", "network", "--sizes", 64, "--networks", "lite", "--rounds", 2,
                   "--runtimes", "onnxruntime", "openvino", "--json", file)  # fmt: skip
    assert result.returncode == 0, result.stderr
    found = json.loads(file.read_text())
    rows = {(r["graph"], r["runtime"], r["precision"]): r for r in found["rows"]}
    wanted = {
        ("exported", "onnxruntime", "fp32"),
        ("exported", "openvino", "fp32"),
        ("exported", "onnxruntime", "uint8"),
        ("exported", "openvino", "uint8"),
    }
    served = ("exported", "onnxruntime", "fp32")
    if computes_bf16():
        served = ("exported", "openvino", "bf16")
        wanted.add(served)
    assert rows.keys() == wanted
    assert found["left_out"] == []
    assert all(r["median_ms"] > 0 and (r["size"], r["batch"]) == (64, 1) for r in rows.values())
    assert [k for k, r in rows.items() if r["shipped"]] == [served]


def test_served_graph_of_the_student_is_the_tuned_one(xpnet, tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    result = xpnet("bench", "network", "--sizes", 64, "--networks", "student", "--rounds", 1,
                   "--runtimes", "onnxruntime", "openvino", "--json", file)  # fmt: skip
    assert result.returncode == 0, result.stderr
    rows = json.loads(file.read_text())["rows"]
    assert [r["graph"] for r in rows if r["shipped"]] == ["tuned"]
    assert {r["graph"] for r in rows} == {"exported", "tuned"}


def test_wrong_use_gives_one_line(xpnet) -> None:
    assert "network 'vgg': expected some of" in one_line(
        xpnet("bench", "network", "--networks", "vgg")
    )
    assert "runtime 'tvm': expected some of" in one_line(
        xpnet("bench", "network", "--runtimes", "tvm")
    )
    assert "--rounds 0" in one_line(xpnet("bench", "network", "--rounds", 0))


def test_table_has_the_speedup_over_the_unet() -> None:
    def row(network: str, ms: float, shipped: bool = False) -> dict[str, object]:
        return {"network": network, "graph": "exported", "runtime": "onnxruntime",
                "precision": "fp32", "size": 512, "batch": 1, "median_ms": ms,
                "shipped": shipped}  # fmt: skip

    found = {"machine": "m", "cores": 2, "date": "d", "left_out": ["teacher: why"],
             "rows": [row("unet", 500.0), row("lite", 62.5, True)]}  # fmt: skip
    lines = as_markdown(found).splitlines()
    assert lines[3] == "| lite | exported | onnxruntime **shipped** | fp32 | 512 | 62.5 | 8.00 |"
    assert lines[-1] == "Left out: teacher: why"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_bench_on_a_gpu_names_a_missing_gpu_and_wrong_values(xpnet) -> None:
    call = ("bench", "network", "--device", "cuda", "--networks")
    assert "no NVIDIA GPU found" in one_line(xpnet(*call, "lite"))
    assert "network 'nosuch': expected some of" in one_line(xpnet(*call, "nosuch"))
    line = one_line(xpnet(*call, "lite", "--sizes", 100))
    assert "size 100: expected a multiple of 16" in line


@pytest.mark.parametrize("name", ["student", "teacher", "unet"])
def test_merged_form_for_a_gpu_computes_the_same(name: str) -> None:
    torch.manual_seed(1)
    network = NETWORKS[name]().eval()
    frames = torch.rand(1, 3, 32, 32)
    forms = merged_forms(find_parts(network))
    with torch.inference_mode():
        torch.testing.assert_close(
            apply_forms(network, forms)(frames), network(frames), atol=1e-4, rtol=0
        )
