"""`xpnet run --control`: the service of a real run, and its page in a real browser."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.conftest import one_line
from xpnet.bench.camera import free_tcp_port
from xpnet.bench.live_run import LiveRun, live_run
from xpnet.serving.cpu_runtimes import best_runtime

pytestmark = pytest.mark.integration

WAIT_S = 30
IN_PROCESS = ("--backend", best_runtime())


@pytest.fixture
def live(short_clip: Path, tmp_path: Path) -> Iterator[LiveRun]:
    options = (*IN_PROCESS, "--record", str(tmp_path / "recordings"), "--record-reserve", "0")
    with live_run(f"live:{short_clip}", options) as run:
        yield run


def port_of(run: LiveRun) -> str:
    return run.address.rpartition(":")[2]


def wait_for(run: LiveRun, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Return a state after a condition was met."""
    assert run.wait_until(condition, WAIT_S) is not None, run.last_line()
    return run.state()


def picture(data: bytes) -> np.ndarray:
    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert found is not None
    return np.asarray(found)


def test_run_is_watched_and_changed(
    live: LiveRun, xpnet: Any, short_clip: Path, tmp_path: Path
) -> None:
    state = wait_for(live, lambda s: s["assistant"] == "ready" and s["frames"] > 30)
    assert state["healthy"]
    assert (state["model"], state["mode"], state["output"]) == (
        "xpnet_lite_onnx", "latest", "none",
    )  # fmt: skip
    assert 20 < state["fps"] < 30
    assert json.loads(live.get("health"))["source"] == "connected"
    assert b"xpnet_frames_total" in live.get("metrics")
    assert picture(live.get("preview.jpg")).shape == (404, 720, 3)
    assert picture(live.get("still.png")).shape == (404, 720, 3)
    changed = xpnet("run", "set", "--control", port_of(live), "enabled=false", "shape=corners")
    assert changed.returncode == 0, changed.stderr
    assert json.loads(changed.stdout)["shape"] == "corners"
    wait_for(live, lambda s: s["assistant"] == "off")
    wrong = xpnet("run", "set", "--control", port_of(live), "opacity=2")
    assert "refuses: setting 'opacity': 2.0, expected a number from 0 to 1" in one_line(wrong)
    live.stop()
    assert live.exit_code == 0
    chosen = live.settings_file.read_text(encoding="utf-8")
    with live_run(f"live:{short_clip}", IN_PROCESS, chosen) as again:  # they survive a restart
        assert again.state()["settings"]["shape"] == "corners"
        wait_for(again, lambda s: s["assistant"] == "off")
        again.stop()
        assert again.exit_code == 0


def test_control_options_are_checked(xpnet: Any, tmp_path: Path) -> None:
    run = ("run", "testpattern", "--output", "none")
    assert "--settings belongs to --control" in one_line(xpnet(*run, "--settings", tmp_path / "a"))
    line = one_line(xpnet(*run, "--backend", best_runtime(), "--control", "0.0.0.0:8080"))
    assert "expected --control-token-file, too" in line
    (tmp_path / "token").write_text("short\n")
    command = (*run, "--control", "0.0.0.0:8080", "--control-token-file", tmp_path / "token")
    assert "has 5 characters, expected at least 16" in one_line(xpnet(*command))
    assert "no run with --control answers" in one_line(xpnet("run", "set", "--control", "1"))


class Browser:
    """Chromium by WebDriver's protocol."""

    def __init__(self, port: int) -> None:
        self.address = f"http://127.0.0.1:{port}"
        arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
                     "--disable-background-networking", "--disable-component-update",
                     "--disable-sync", "--no-first-run", "--window-size=1024,768"]  # fmt: skip
        options = {"alwaysMatch": {"goog:chromeOptions": {"args": arguments}}}
        self.session = self.ask("/session", {"capabilities": options})["sessionId"]

    def ask(self, path: str, values: dict[str, Any] | None, method: str = "") -> Any:
        body = None if values is None else json.dumps(values).encode()
        asked = urllib.request.Request(f"{self.address}{path}", body, method=method or None)
        with urllib.request.urlopen(asked, timeout=60) as answer:
            return json.loads(answer.read())["value"]

    def do(self, path: str, values: dict[str, Any] | None = None) -> Any:
        return self.ask(f"/session/{self.session}/{path}", values)

    def script(self, text: str) -> Any:
        return self.do("execute/sync", {"script": text, "args": []})

    def wait_for(self, text: str) -> None:
        deadline = time.monotonic() + WAIT_S
        while not self.script(f"return {text}"):
            assert time.monotonic() < deadline, text
            time.sleep(0.1)

    def click(self, element: str) -> None:
        found = self.do("element", {"using": "css selector", "value": element})
        self.do(f"element/{next(iter(found.values()))}/click", {})


@pytest.fixture
def browser() -> Iterator[Browser]:
    port = free_tcp_port()
    driver = subprocess.Popen(
        ["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            opened = Browser(port)
            break
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    yield opened
    with suppress(OSError):
        opened.ask(f"/session/{opened.session}", None, "DELETE")
    os.killpg(driver.pid, signal.SIGKILL)
    driver.wait()


@pytest.mark.skipif(
    shutil.which("chromedriver") is None, reason="needs the package chromium-driver"
)
def test_page_in_a_browser(live: LiveRun, browser: Browser) -> None:
    browser.do("url", {"url": f"{live.address}/"})
    text = "document.getElementById('{}').textContent"
    browser.wait_for(f"{text.format('assistant')} === 'Assistant ready'")
    browser.wait_for("document.getElementById('picture').naturalWidth === 720")
    assert browser.script(f"return {text.format('recording')}") == "The picture is not recorded."
    browser.click("#enabled")
    browser.wait_for(f"{text.format('assistant')} === 'Assistant switched off'")
    assert live.state()["settings"]["enabled"] is False
    browser.click("#shape option[value=contour]")
    wait_for(live, lambda s: s["settings"]["shape"] == "contour")
    browser.script(
        "const o = document.getElementById('opacity'); o.value = 0.6;"
        "o.dispatchEvent(new Event('input')); o.dispatchEvent(new Event('change'));"
    )
    wait_for(live, lambda s: s["settings"]["opacity"] == 0.6)
    browser.click("#confirmation")
    wait_for(live, lambda s: s["settings"]["confirmation"] is False)
    browser.click("#record")
    wait_for(live, lambda s: s["recorder"]["seconds"] > 0.3)
    browser.wait_for(f"{text.format('recording')} === 'The picture is recorded.'")
    browser.click("#record")
    wait_for(live, lambda s: s["recorder"]["last_file"].startswith("recording-"))
    browser.click("#save")
    browser.wait_for(f"{text.format('message')}.startsWith('Saved still-')")
    shot = picture(base64.b64decode(browser.do("screenshot")))
    assert len(np.unique(shot[:400, :500].reshape(-1, 3), axis=0)) > 1000  # the picture
    wide = browser.script("return document.documentElement.scrollWidth <= window.innerWidth")
    assert wide is True
    live.stop()
    browser.wait_for(f"{text.format('assistant')} === 'No connection'")
