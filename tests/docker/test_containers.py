"""Dockerfiles, compose files, service unit: what no linter knows of them.

No Docker engine is asked. `make lint` runs hadolint, and compares the compose files with the
published schema; tests/docker/prove_images.py builds the images and runs them.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from dockerfile_parse import DockerfileParser

from tests.conftest import ROOT
from tests.docker.prove_cpu_stage import stage_instructions

DOCKERFILES = [ROOT / "Dockerfile", ROOT / "jetson" / "Dockerfile"]
COMPOSE = [ROOT / "compose.yaml", ROOT / "jetson" / "compose.yaml"]
STAGES = ("cpu", "test", "train", "rtx")
PLANS = ("xpnet", "xpnet_lite")
Rows = list[tuple[str, str]]


def rows_of(path: Path) -> Rows:
    with path.open("rb") as file:
        found = DockerfileParser(fileobj=file).structure
    return [(row["instruction"], row["value"]) for row in found if row["instruction"] != "COMMENT"]


def composed(path: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(path.read_text(encoding="utf-8")))


SERVICES = [(path, name) for path in COMPOSE for name in composed(path)["services"]]


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda p: p.parent.name)
def test_bases_by_exact_tag(path: Path) -> None:
    rows = rows_of(path)
    defaults = dict(words.split("=") for kind, words in rows if kind == "ARG" and "=" in words)
    stages = {words.split()[-1] for kind, words in rows if kind == "FROM"}
    bases = [words.split()[0] for kind, words in rows if kind == "FROM"]
    outside = [
        re.sub(r"\$\{(\w+)\}", lambda m: defaults[m[1]], b) for b in bases if b not in stages
    ]
    assert outside
    for base in outside:
        assert re.search(r":(bookworm-\d{8}-slim|\d+\.\d+-triton-multiarch)$", base), base


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda p: p.parent.name)
def test_an_engine_without_buildkit_can_build_it(path: Path) -> None:
    """Docker of Debian and Ubuntu comes without it; `ADD --chmod` ended such a build."""
    options = re.compile(r"--(chmod|exclude|link|mount|network|security)\b|.*<<")
    assert not [words for _, words in rows_of(path) if options.match(words)]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_runs_as_nobody_and_says_how_it_is(stage: str) -> None:
    last = dict(stage_instructions(stage))
    assert last["USER"] == "10001:10001"
    assert "HEALTHCHECK" in last
    assert isinstance(json.loads(last["ENTRYPOINT"]), list)  # no shell between it and its signals


def test_the_jetsons_image_is_like_the_other_targets() -> None:
    def common(rows: Rows) -> Rows:
        return [
            r for r in rows if r[0] not in {"ADD", "EXPOSE"} and "additional_install" not in r[1]
        ]

    jetson = [row for row in rows_of(DOCKERFILES[1]) if row[0] not in {"FROM", "ARG"}]
    assert common(jetson) == common(list(stage_instructions("rtx")))


def test_our_code_comes_after_what_seldom_changes() -> None:
    for stage in ("cpu", "rtx"):
        rows = list(stage_instructions(stage))
        ours = rows.index(("COPY", ". ."))
        assert not any("requirements" in words for _, words in rows[ours:])
        runs = [words for kind, words in rows[ours:] if kind == "RUN"]
        assert len(runs) == 1
        assert "--step project" in runs[0]


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda p: p.parent.name)
def test_what_an_image_copies_and_starts_is_there(path: Path) -> None:
    for kind, words in rows_of(path):
        if kind == "COPY":
            assert all((ROOT / source).exists() for source in words.split()[:-1])
        for name in re.findall(r"\b(?:scripts|docker)/\w+\.sh", "" if kind == "COPY" else words):
            assert shutil.which(str(ROOT / name)), f"{name} is not there or cannot be run"


def test_an_image_leaves_out_what_git_does() -> None:
    def patterns(name: str) -> set[str]:
        lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
        kept = {line for line in lines if line and not line.startswith("#")}
        return {line.strip("/").removeprefix("**/") for line in kept}

    plans = {f"triton_models/{model}/1" for model in PLANS}
    assert patterns(".dockerignore") == {".git", *plans, *patterns(".gitignore")}


def test_links_to_plans_take_the_place_of_folders(tmp_path: Path) -> None:
    """`xpnet build` makes those folders, and a build context may hold them. The line runs."""
    (line,) = (words for _, words in stage_instructions("rtx") if "ln -s" in words)
    for model in PLANS:
        (tmp_path / "triton_models" / model / "1").mkdir(parents=True)
        (tmp_path / "triton_models" / model / "1" / "model.plan").touch()
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "setup.sh").write_text("#!/bin/sh\n")
    (tmp_path / "scripts" / "setup.sh").chmod(0o755)
    subprocess.run(["sh", "-c", line], cwd=tmp_path, check=True)
    for model in PLANS:
        assert (tmp_path / "triton_models" / model / "1").readlink() == Path("/plans", model)


def test_the_test_stage_has_all_steps_of_dev() -> None:
    steps = {
        step
        for kind, words in stage_instructions("test")
        for step in re.findall(r"setup\.sh --dev --step (\w+)", words if kind == "RUN" else "")
    }
    assert steps == {"system", "python", "project"}  # the server is that of stage cpu


@pytest.mark.parametrize(("path", "name"), SERVICES, ids=[n for _, n in SERVICES])
def test_services_are_shut(path: Path, name: str) -> None:
    service = composed(path)["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert [entry.split(":")[0] for entry in service["tmpfs"]] == ["/tmp"]
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    assert not {"privileged", "network_mode", "pid"} & service.keys()


def test_only_servers_listen_and_graphs_wait_for_them() -> None:
    services = composed(COMPOSE[0])["services"]
    for name, service in services.items():
        assert ("ports" in service) == name.startswith("triton-")
        if name.startswith("graph-"):
            server = name.replace("graph", "triton")
            assert service["depends_on"] == {server: {"condition": "service_healthy"}}
            assert f"{server}:8001" in service["command"]
            assert service["profiles"] == services[server]["profiles"]


def test_commands_are_of_our_command_line() -> None:
    from xpnet.cli import build_parser

    commands = [json.loads(dict(stage_instructions(stage))["CMD"]) for stage in ("cpu", "train")]
    commands += [s["command"] for s in composed(COMPOSE[0])["services"].values() if "command" in s]
    for words in commands:
        if words[-1] == "--help":
            with pytest.raises(SystemExit, match=r"^0$"):
                build_parser().parse_args(words)
            continue
        build_parser().parse_args(words)


def test_systemd_takes_the_service_unit(tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd-analyze: scripts/setup.sh --dev installs it")
    made = subprocess.run(
        [ROOT / "scripts" / "install_service.sh", "--print"],
        capture_output=True,
        text=True,
        check=True,
    )
    unit = tmp_path / "xpnet-cart.service"
    verify = ["systemd-analyze", "verify", str(unit)]
    unit.write_text(made.stdout)
    good = subprocess.run(verify, capture_output=True, text=True, check=False)
    assert (good.returncode, good.stderr) == (0, "")
    assert "@" not in made.stdout
    # Under ProtectSystem=strict nothing else is written to, /tmp neither.
    (writable,) = re.findall(r"^ReadWritePaths=(.*)$", made.stdout, re.MULTILINE)
    (scratch,) = re.findall(r"^Environment=TMPDIR=(.*)$", made.stdout, re.MULTILINE)
    assert scratch in writable.split()
    unit.write_text(made.stdout.replace("launch_cart.sh", "nosuch.sh"))
    bad = subprocess.run(verify, capture_output=True, text=True, check=False)
    assert bad.returncode or "nosuch.sh" in bad.stderr


def test_the_health_check_asks_where_it_serves(tmp_path: Path) -> None:
    """Its own process 1 is no server: healthy. Of one that serves, Triton has to answer."""
    check = ROOT / "docker" / "healthcheck.sh"
    text = check.read_text(encoding="utf-8")
    assert subprocess.run([check], capture_output=True, check=False).returncode == 0
    line = tmp_path / "cmdline"
    line.write_bytes(b"python\0/opt/xpnet/.venv/bin/xpnet\0serve\0")
    asked = text.replace("/proc/1/cmdline", str(line)).replace(":8000", ":9")
    assert subprocess.run(["bash", "-c", asked], capture_output=True, check=False).returncode
