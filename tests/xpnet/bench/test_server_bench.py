"""Settings of `xpnet bench server`, and the transports that a server offers."""

from __future__ import annotations

from pathlib import Path

import pytest

from xpnet.bench.in_process import InProcessInference
from xpnet.bench.server_bench import BenchSettings
from xpnet.errors import UserError


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"concurrency": 0}, "--concurrency 0: expected at least 1"),
        ({"window_ms": 5}, "--window-ms 5: expected at least 100"),
        ({"rounds": -1}, "--rounds -1: expected at least 0"),
        ({"transports": ("ftp",)}, "transport 'ftp': expected some of http, grpc"),
        ({"http_url": "a:1"}, "--http-url: give --url"),
    ],
)
def test_invalid_settings_are_rejected(settings: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        BenchSettings(frames=(), csv_dir=Path("x"), **settings)


def test_error_of_the_child_process_is_raised_in_the_parent(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"model\.onnx: no such ONNX file"):
        InProcessInference(tmp_path, "onnxruntime", ())
