"""Dockerfiles, compose files and service unit: properties that no linter checks.

These tests need no Docker engine. `make lint` runs hadolint and validates the compose files;
tests/docker/prove_images.py builds the images and runs them.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from dockerfile_parse import DockerfileParser

from tests.docker.prove_cpu_stage import stage_instructions
from xpnet.paths import ROOT

DOCKERFILES = [ROOT / "Dockerfile", ROOT / "jetson" / "Dockerfile"]
COMPOSE_FILES = [ROOT / "compose.yaml", ROOT / "jetson" / "compose.yaml"]
HEALTH_CHECK = ROOT / "docker" / "healthcheck.sh"
STAGES = ("cpu", "test", "train", "rtx")
PLAN_MODELS = ("xpnet", "xpnet_lite")
Instructions = list[tuple[str, str]]


def read_dockerfile(path: Path) -> Instructions:
    with path.open("rb") as file:
        rows = DockerfileParser(fileobj=file).structure
    return [(row["instruction"], row["value"]) for row in rows if row["instruction"] != "COMMENT"]


def read_compose(path: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(path.read_text(encoding="utf-8")))


SERVICES = [(path, name) for path in COMPOSE_FILES for name in read_compose(path)["services"]]


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda p: p.parent.name)
def test_base_images_have_exact_tags(path: Path) -> None:
    rows = read_dockerfile(path)
    defaults = dict(value.split("=") for kind, value in rows if kind == "ARG" and "=" in value)
    stages = {value.split()[-1] for kind, value in rows if kind == "FROM"}
    bases = [value.split()[0] for kind, value in rows if kind == "FROM"]
    external = [
        re.sub(r"\$\{(\w+)\}", lambda m: defaults[m[1]], b) for b in bases if b not in stages
    ]
    assert external
    for base in external:
        assert re.search(r":(bookworm-\d{8}-slim|\d+\.\d+-triton-multiarch)$", base), base


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda p: p.parent.name)
def test_dockerfile_needs_no_buildkit(path: Path) -> None:
    """Docker of Debian and Ubuntu has no BuildKit; options such as `ADD --chmod` need it."""
    options = re.compile(r"--(chmod|exclude|link|mount|network|security)\b|.*<<")
    assert not [value for _, value in read_dockerfile(path) if options.match(value)]


@pytest.mark.parametrize("stage", STAGES)
def test_stage_runs_as_unprivileged_user_with_health_check_and_exec_entry_point(
    stage: str,
) -> None:
    last = dict(stage_instructions(stage))
    assert last["USER"] == "10001:10001"
    assert "HEALTHCHECK" in last
    # A list, so that no shell keeps signals from the process.
    assert isinstance(json.loads(last["ENTRYPOINT"]), list)


def test_jetson_image_has_the_instructions_of_stage_rtx() -> None:
    def common(rows: Instructions) -> Instructions:
        return [
            r for r in rows if r[0] not in {"ADD", "EXPOSE"} and "additional_install" not in r[1]
        ]

    jetson = [row for row in read_dockerfile(DOCKERFILES[1]) if row[0] not in {"FROM", "ARG"}]
    assert common(jetson) == common(list(stage_instructions("rtx")))


@pytest.mark.parametrize("stage", ["cpu", "rtx"])
def test_code_is_copied_after_the_packages_are_installed(stage: str) -> None:
    rows = list(stage_instructions(stage))
    copy = rows.index(("COPY", ". ."))
    assert not any("requirements" in value for _, value in rows[copy:])
    (run,) = (value for kind, value in rows[copy:] if kind == "RUN")
    assert "--step project" in run


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda p: p.parent.name)
def test_files_that_a_dockerfile_names_exist(path: Path) -> None:
    for kind, value in read_dockerfile(path):
        if kind == "COPY":
            assert all((ROOT / source).exists() for source in value.split()[:-1])
        else:
            for name in re.findall(r"\b(?:scripts|docker)/\w+\.sh", value):
                assert shutil.which(str(ROOT / name)), f"{name} is missing or not executable"


def test_dockerignore_has_the_patterns_of_gitignore() -> None:
    def patterns(name: str) -> set[str]:
        lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
        kept = {line for line in lines if line and not line.startswith("#")}
        return {line.strip("/").removeprefix("**/") for line in kept}

    plan_dirs = {f"triton_models/{model}/1" for model in PLAN_MODELS}
    assert patterns(".dockerignore") == {".git", *plan_dirs, *patterns(".gitignore")}


def test_links_to_the_plans_replace_existing_folders(tmp_path: Path) -> None:
    """`xpnet build` makes these folders, so a build context may contain them."""
    (command,) = (value for _, value in stage_instructions("rtx") if "ln -s" in value)
    for model in PLAN_MODELS:
        (tmp_path / "triton_models" / model / "1").mkdir(parents=True)
        (tmp_path / "triton_models" / model / "1" / "model.plan").touch()
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "setup.sh").write_text("#!/bin/sh\n")
    (tmp_path / "scripts" / "setup.sh").chmod(0o755)
    subprocess.run(["sh", "-c", command], cwd=tmp_path, check=True)
    for model in PLAN_MODELS:
        assert (tmp_path / "triton_models" / model / "1").readlink() == Path("/plans", model)


def test_test_stage_runs_all_steps_of_setup_dev() -> None:
    steps = {
        step
        for kind, value in stage_instructions("test")
        for step in re.findall(r"setup\.sh --dev --step (\w+)", value if kind == "RUN" else "")
    }
    assert steps == {"system", "python", "project"}  # stage cpu has the server


@pytest.mark.parametrize(("path", "name"), SERVICES, ids=[n for _, n in SERVICES])
def test_services_are_hardened(path: Path, name: str) -> None:
    service = read_compose(path)["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert [entry.split(":")[0] for entry in service["tmpfs"]] == ["/tmp"]
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    assert not {"privileged", "network_mode", "pid"} & service.keys()


def test_only_servers_publish_ports_and_graphs_wait_for_them() -> None:
    services = read_compose(COMPOSE_FILES[0])["services"]
    for name, service in services.items():
        assert ("ports" in service) == name.startswith("triton-")
        if name.startswith("graph-"):
            server = name.replace("graph", "triton")
            assert service["depends_on"] == {server: {"condition": "service_healthy"}}
            assert f"{server}:8001" in service["command"]
            assert service["profiles"] == services[server]["profiles"]


def test_commands_of_containers_are_valid_xpnet_commands() -> None:
    from xpnet.cli import build_parser

    services = read_compose(COMPOSE_FILES[0])["services"].values()
    commands = [json.loads(dict(stage_instructions(stage))["CMD"]) for stage in ("cpu", "train")]
    commands += [service["command"] for service in services if "command" in service]
    for command in commands:
        if command[-1] == "--help":
            with pytest.raises(SystemExit, match=r"^0$"):
                build_parser().parse_args(command)
            continue
        build_parser().parse_args(command)


@pytest.fixture(scope="module")
def service_unit() -> str:
    result = subprocess.run(
        [ROOT / "scripts" / "install_service.sh", "--print"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return result.stdout


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None,
    reason="systemd-analyze is not installed: scripts/setup.sh --dev installs it",
)
def test_systemd_accepts_the_service_unit(service_unit: str, tmp_path: Path) -> None:
    path = tmp_path / "xpnet-cart.service"

    def verify(unit: str) -> subprocess.CompletedProcess[str]:
        path.write_text(unit)
        command = ["systemd-analyze", "verify", str(path)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    valid = verify(service_unit)
    assert (valid.returncode, valid.stderr) == (0, "")
    invalid = verify(service_unit.replace("launch_cart.sh", "nosuch.sh"))
    assert invalid.returncode or "nosuch.sh" in invalid.stderr


def test_service_unit_has_a_writable_folder_for_temporary_files(service_unit: str) -> None:
    """With ProtectSystem=strict, everything but ReadWritePaths is read-only.

    Triton's Python backend makes a folder in /tmp: without it, the server ends while it starts.
    """
    assert "@" not in service_unit  # all placeholders are replaced
    (writable,) = re.findall(r"^ReadWritePaths=(.*)$", service_unit, re.MULTILINE)
    (temporary,) = re.findall(r"^Environment=TMPDIR=(.*)$", service_unit, re.MULTILINE)
    assert {temporary, "/tmp"} <= set(writable.split())


@pytest.fixture
def health_check(tmp_path: Path) -> Callable[[int], int]:
    """Run the check as in a container that serves; return its exit code."""
    command_line = tmp_path / "cmdline"
    command_line.write_bytes(b"python\0/opt/xpnet/.venv/bin/xpnet\0serve\0")
    text = HEALTH_CHECK.read_text(encoding="utf-8")
    assert ":8000/" in text
    # The image has its Python in PATH.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    def run(port: int) -> int:
        changed = text.replace("/proc/1/cmdline", str(command_line)).replace(":8000/", f":{port}/")
        return subprocess.run(
            ["bash", "-c", changed], capture_output=True, check=False, env={"PATH": path}
        ).returncode

    return run


def test_container_without_triton_is_healthy() -> None:
    # Process 1 of this machine is not `xpnet serve`.
    assert subprocess.run([HEALTH_CHECK], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (400, False)])
def test_container_that_serves_is_healthy_when_triton_is_ready(
    health_check: Callable[[int], int], status: int, healthy: bool
) -> None:
    class Triton(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/v2/health/ready" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Triton) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            assert (health_check(server.server_port) == 0) == healthy
        finally:
            server.shutdown()
            thread.join()


def test_container_that_serves_is_not_healthy_without_an_answer(
    health_check: Callable[[int], int],
) -> None:
    assert health_check(9) != 0
