"""The comparison of runtimes: every row is measured, and the served one is marked."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from tests.conftest import one_line
from training.bench import network_bench
from training.bench.gpu_bench import gpu_table, merged_forms
from training.bench.network_report import as_markdown
from training.export.layer_forms import apply_forms, find_parts
from training.models.peers import PEERS, make_peer
from training.models.zoo import NETWORKS
from xpnet.errors import UserError
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
    assert "--batches 0: expected at least 1" in one_line(xpnet("bench", "network", "--batches", 0))
    assert "--rounds 0" in one_line(xpnet("bench", "network", "--rounds", 0))


def test_table_has_the_speedup_over_the_unet() -> None:
    def row(network: str, ms: float, batch: int = 1, shipped: bool = False) -> dict[str, object]:
        return {"network": network, "graph": "exported", "runtime": "onnxruntime",
                "precision": "fp32", "size": 512, "batch": batch, "median_ms": ms, "p10_ms": ms - 1,
                "p90_ms": ms + 1, "peak_share": 0.25, "parameters": 1234567,
                "multiply_adds": 5e9, "shipped": shipped}  # fmt: skip

    found = {"machine": "m", "cores": 2, "date": "d", "left_out": ["teacher: why"], "rounds": 3,
             "versions": {"torch": "2"}, "peak": {"fp32_gflops": 100.0, "copy_gb_per_s": 9.0},
             "rows": [row("unet", 500.0), row("lite", 62.5, shipped=True),
                      row("lite", 99.0, batch=4)]}  # fmt: skip
    lines = as_markdown(found).splitlines()
    assert lines[2] == "| unet | 512 | 1,234,567 | 5.00 |"
    start = "| lite | exported | onnxruntime **shipped** | fp32 | 512 | 1 | 62.5 | 61.5 to 63.5 |"
    assert f"{start} 25% | 8.00 |" in lines
    assert any(line.endswith("| 4 | 99.0 | 98.0 to 100.0 | 25% |  |") for line in lines)
    assert lines[-1] == "- Left out: teacher: why"


def test_batches_are_timed_and_drawn(xpnet, tmp_path: Path) -> None:
    file, page, plot = (tmp_path / f"n.{suffix}" for suffix in ("json", "md", "png"))
    result = xpnet("bench", "network", "--sizes", 64, "--networks", "lite", "basicunet",
                   "--batches", 1, 3, "--rounds", 2, "--runtimes", "onnxruntime",
                   "--json", file, "--markdown", page, "--plot", plot)  # fmt: skip
    assert result.returncode == 0, result.stderr
    found = json.loads(file.read_text())
    fp32 = [r for r in found["rows"] if r["precision"] == "fp32"]
    assert [(r["network"], r["batch"]) for r in fp32] == [
        ("lite", 1), ("lite", 3), ("basicunet", 1), ("basicunet", 3)
    ]  # fmt: skip
    assert all(r["peak_share"] > 0 for r in fp32)
    assert all(r["p10_ms"] <= r["median_ms"] <= r["p90_ms"] for r in fp32)
    assert [r["peak_share"] for r in found["rows"] if r["precision"] == "uint8"] == [None] * 4
    assert not any(r["shipped"] for r in fp32 if r["batch"] > 1)
    assert page.read_text() == result.stdout
    assert plot.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", [n for n, (package, _) in PEERS.items() if package == "monai"])
def test_peers_give_probabilities_of_the_frame(name: str) -> None:
    network = make_peer(name)
    with torch.inference_mode():
        found = network(torch.rand(1, 3, 64, 64))
    assert found.shape == (1, 1, 64, 64)
    assert 0 <= found.min() <= found.max() <= 1


def test_peer_without_its_package_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(UserError, match=r"torchvision does not import: .*torchvision"):
        make_peer("lraspp-mobilenet-v3")


def test_bench_of_nothing_names_what_was_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    monkeypatch.setattr(network_bench, "measure_peak", dict)
    bench = network_bench.NetworkBench(
        ["lraspp-mobilenet-v3"], [64], [1], 1, [], Path(), Path(), ["onnxruntime"]
    )
    with pytest.raises(UserError, match=r"nothing to time: lraspp-mobilenet-v3: .*torchvision"):
        network_bench.bench_network(bench)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_bench_on_a_gpu_names_a_missing_gpu_and_wrong_values(xpnet) -> None:
    call = ("bench", "network", "--device", "cuda", "--networks")
    assert "no NVIDIA GPU found" in one_line(xpnet(*call, "lite"))
    assert "network 'nosuch': expected some of" in one_line(xpnet(*call, "nosuch"))
    line = one_line(xpnet(*call, "lite", "--sizes", 100))
    assert "size 100: expected a multiple of 16" in line
    line = one_line(xpnet("bench", "network", "--engines", "a.plan"))
    assert "--engines: only with --device cuda" in line


def test_table_of_a_gpu_has_its_engines_and_what_is_missing() -> None:
    found = {
        "device": "a GPU", "torch": "2", "date": "2026-11-28", "copy_gb_per_s": 9, "rows": [],
        "engines": [{"engine": "xpnet_lite", "library": "TensorRT", "precision": "fp16",
                     "size": 256, "ms": 0.5, "frames_per_s": 2000}],
        "left_out": ["b.engine: no such TensorRT-RTX file"],
    }  # fmt: skip
    table = gpu_table(found)
    assert "| xpnet_lite | TensorRT | fp16 | 256 | 0.500 | 2000 |\n" in table
    assert table.endswith("\n- Left out: b.engine: no such TensorRT-RTX file\n")


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
