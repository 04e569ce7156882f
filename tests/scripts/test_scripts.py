"""The shell scripts: what they would do, and one line for whatever stands in their way."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT

SCRIPTS = sorted(
    path
    for folder in ("scripts", "jetson", "docker")
    for path in (ROOT / folder).glob("*.sh")
    if path.name != "common.sh"
)
CARTS = [ROOT / "scripts" / f"{n}.sh" for n in (
    "install_cart", "build_engines", "perf_analyzer", "launch_cart", "service", "pyds"
)]  # fmt: skip
HELPFUL = [path for path in SCRIPTS if path.parent.name != "docker"]
Shell = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """Runs a script; `programs` are put first on its PATH, as shell text by name."""

    def call(
        path: Path, *words: object, programs: dict[str, str] | None = None, **env: str
    ) -> subprocess.CompletedProcess[str]:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        for name, text in (programs or {}).items():
            (folder / name).write_text(f"#!/bin/sh\n{text}\n")
            (folder / name).chmod(0o755)
        settings = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"} | env
        return subprocess.run(
            [str(path), *map(str, words)],
            env=settings, capture_output=True, text=True, timeout=150, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    return call


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with what the scripts touch, which may be spoiled."""
    folder = tmp_path / "checkout"
    for name in ("scripts", "jetson"):
        shutil.copytree(ROOT / name, folder / name)
    (folder / "triton_models" / "xpnet_lite" / "1").mkdir(parents=True)
    return folder


def one_line(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 2, result.stdout + result.stderr
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    return lines[0]


def planned(result: subprocess.CompletedProcess[str]) -> list[str]:
    """What a dry run would do, with the checkout's folder left out."""
    assert result.returncode == 0, result.stderr
    rows = [line[2:] for line in result.stdout.splitlines() if line.startswith("+ ")]
    return [row.replace(f"{ROOT}/", "") for row in rows]


def on_cpu() -> bool:
    return platform.machine() == "x86_64" and not shutil.which("nvidia-smi")


needs_cpu = pytest.mark.skipif(not on_cpu(), reason="says what a machine without a GPU says")


@pytest.mark.parametrize("path", HELPFUL, ids=lambda p: p.name)
def test_help_and_unknown_options(shell: Shell, path: Path) -> None:
    said = shell(path, "--help")
    assert said.returncode == 0
    assert said.stdout.startswith(f"Usage: {path.relative_to(ROOT)}")
    if path.name != "perf_analyzer.sh":  # it hands on what it does not know
        assert "unknown option '--nonsense'" in one_line(shell(path, "--nonsense"))


@pytest.mark.parametrize("path", CARTS, ids=lambda p: p.name)
def test_few_lines(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) < 60


def test_dry_runs_of_the_install(shell: Shell) -> None:
    install = ROOT / "scripts" / "install_cart.sh"
    assert planned(shell(install, "--dry-run", "--platform", "cpu")) == ["scripts/setup.sh"]
    for target in ("rtx", "jetson"):
        assert planned(shell(install, "--dry-run", "--platform", target)) == [
            "scripts/pyds.sh",
            "scripts/setup.sh --deepstream",
            f"scripts/build_engines.sh --platform {target}",
        ]
    rows = planned(shell(install, "--dry-run", "--platform", "cpu", "--service"))
    assert rows[-1] == "systemctl enable --now xpnet-cart.service"
    removed = planned(shell(install, "--dry-run", "--uninstall"))[-1]
    assert removed.startswith("rm -rf .venv .triton triton_models/")


def test_dry_runs_of_engines(shell: Shell) -> None:
    build = ROOT / "scripts" / "build_engines.sh"
    start = ".venv/bin/xpnet build --target"
    assert planned(shell(build, "--dry-run", "--platform", "rtx")) == [
        f"{start} rtx --model xpnet_lite --if-needed"
    ]
    words = ("--platform", "jetson", "--model", "xpnet", "--model", "xpnet_lite", "--dla", "0",
             "--precision", "fp16", "--precision", "int8", "--force")  # fmt: skip
    found = planned(shell(build, "--dry-run", *words, XPNET_TIMING_CACHE="/plans/t.cache"))
    more = "--dla 0 --precision fp16 int8 --timing-cache /plans/t.cache"
    assert found == [f"{start} jetson --model {m} {more}" for m in ("xpnet", "xpnet_lite")]


def test_dry_runs_of_the_launch(shell: Shell) -> None:
    launch = ROOT / "scripts" / "launch_cart.sh"
    (row,) = planned(shell(launch, "--dry-run", "--platform", "cpu", "--", "--mode", "latest"))
    assert row == (
        "exec .venv/bin/xpnet run docs/demo/colonoscopy.mp4 --output screen --platform gstreamer "
        "--mode latest"
    )
    app = {"XPNET_KIND": "app", "XPNET_SINK": "drm", "XPNET_SOURCE": "/dev/video0"}
    rows = planned(shell(launch, "--dry-run", "--platform", "jetson", **app))
    assert rows[-2:] == [
        ".venv/bin/xpnet deploy --platform jetson --source /dev/video0 --sink drm "
        "--triton inprocess --output build/cart",
        r"exec deepstream-app -c build/cart/cart_\*.txt",
    ]


def test_deepstream_app_gets_the_file_that_deploy_wrote(shell: Shell, checkout: Path) -> None:
    """Our own deploy; nvidia-smi and deepstream-app, which a GPU brings, are stand-ins."""
    xpnet = checkout / ".venv" / "bin" / "xpnet"
    xpnet.parent.mkdir(parents=True)
    xpnet.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m xpnet.cli "$@"\n')
    xpnet.chmod(0o755)
    stale = checkout / "build" / "cart" / "cart_of_yesterday.txt"
    stale.parent.mkdir(parents=True)
    stale.touch()
    words = ("--app", "--source", "/dev/video0", "--sink", "screen", "--", "--size", "1280x720")
    programs = {"nvidia-smi": "true", "deepstream-app": 'echo "app $*"; cat "$2"'}
    result = shell(checkout / "scripts" / "launch_cart.sh", *words, programs=programs)
    assert result.returncode == 0, result.stderr
    written = checkout / "build" / "cart" / "cart_rtx_v4l2_screen_inprocess.txt"
    assert f"app -c {written}" in result.stdout
    assert "camera-width=1280" in result.stdout
    assert not stale.exists()


def test_deepstream_app_waits_for_keys_where_nobody_types(shell: Shell, checkout: Path) -> None:
    """It polls its input, and at the end of one it would write an empty line each time."""
    xpnet = checkout / ".venv" / "bin" / "xpnet"
    xpnet.parent.mkdir(parents=True)
    xpnet.write_text("#!/bin/sh\n")
    xpnet.chmod(0o755)
    polls = "import select; print('keys:', len(select.select([0], [], [], 0.2)[0]))"
    programs = {"nvidia-smi": "true", "deepstream-app": f'{sys.executable} -c "{polls}"'}
    launch = checkout / "scripts" / "launch_cart.sh"
    result = shell(launch, "--app", programs=programs, TMPDIR=str(checkout))
    assert (result.returncode, result.stdout) == (0, "keys: 0\n"), result.stderr
    assert {path.name for path in checkout.iterdir()} == {".venv", "scripts", "jetson",
                                                          "triton_models"}  # fmt: skip


def test_what_the_scripts_ask_is_of_our_command_line(shell: Shell) -> None:
    from xpnet.cli import build_parser

    asked = []
    for target in ("rtx", "jetson", "cpu"):
        words = ("--dry-run", "--platform", target)
        asked += planned(shell(ROOT / "scripts" / "launch_cart.sh", *words, "--graph"))
        if target != "cpu":
            asked += planned(shell(ROOT / "scripts" / "launch_cart.sh", *words, "--app"))
            asked += planned(shell(ROOT / "scripts" / "build_engines.sh", *words, "--dla", "1"))
    ours = [row.removeprefix("exec ").split() for row in asked if ".venv/bin/xpnet" in row]
    assert {words[1] for words in ours} == {"run", "deploy", "build"}
    for words in ours:
        build_parser().parse_args(words[1:])


def test_dry_run_of_the_measurement(shell: Shell) -> None:
    rows = planned(shell(ROOT / "scripts" / "perf_analyzer.sh", "--dry-run", "--url", "h:8001"))
    assert rows == [".venv/bin/xpnet bench server --url h:8001"]


@needs_cpu
@pytest.mark.parametrize(
    ("script", "words", "line"),
    [
        ("scripts/install_cart", ["--platform", "jetson"], "jetson: this machine is cpu"),
        ("scripts/install_cart", ["--platform", "mac"], "mac: expected rtx, jetson or cpu"),
        ("scripts/install_cart", ["--platform"], "--platform needs a value"),
        ("scripts/build_engines", [], "no NVIDIA GPU here: a plan is built on the machine"),
        ("scripts/launch_cart", ["--app"], "no NVIDIA GPU here: deepstream-app cannot run"),
        ("scripts/setup", ["--deepstream"], "install NVIDIA DeepStream first"),
        ("scripts/setup", ["--step", "sixth"], "--step sixth: expected system, python, server or"),
        ("scripts/pyds", [], "user_deepstream_python_apps_install.sh: install NVIDIA DeepStream"),
        ("scripts/pyds", ["--where"], "no wheel of pyds in"),
        ("jetson/install", [], "jetson: this machine is cpu"),
        ("jetson/power", [], "this machine is cpu: only a Jetson has nvpmodel"),
    ],
)  # fmt: skip
def test_wrong_platform_and_wrong_words(
    shell: Shell, script: str, words: list[str], line: str
) -> None:
    assert line in one_line(shell(ROOT / f"{script}.sh", *words))


@pytest.mark.parametrize(
    ("script", "machine", "line"),
    [
        ("install_cart", "aarch64", "expected x86_64, or a Jetson with JetPack"),
        ("setup", "riscv64", "machine is riscv64: expected x86_64 or aarch64"),
    ],
)
def test_a_machine_that_is_no_target(shell: Shell, script: str, machine: str, line: str) -> None:
    result = shell(ROOT / "scripts" / f"{script}.sh", programs={"uname": f"echo {machine}"})
    assert line in one_line(result)


def test_an_unknown_kind_of_launch(shell: Shell, checkout: Path) -> None:
    xpnet = checkout / ".venv" / "bin" / "xpnet"
    xpnet.parent.mkdir(parents=True)
    xpnet.write_text("#!/bin/sh\n")
    xpnet.chmod(0o755)
    result = shell(checkout / "scripts" / "launch_cart.sh", XPNET_KIND="movie")
    assert "XPNET_KIND=movie: expected graph or app" in one_line(result)


@needs_cpu
def test_what_is_not_installed(shell: Shell, checkout: Path) -> None:
    for name in ("launch_cart", "perf_analyzer"):
        line = one_line(shell(checkout / "scripts" / f"{name}.sh"))
        assert line == f"{name}: not installed: run scripts/install_cart.sh"


@needs_cpu
def test_no_permission() -> None:
    """As nobody where the tests run as root, for root may write everywhere."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # its parents are open to all
        shutil.copytree(ROOT / "scripts", Path(folder, "scripts"))
        command = [f"{folder}/scripts/install_cart.sh"]
        if os.geteuid() == 0:
            command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *command]
        else:
            Path(folder).chmod(0o555)
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        command += ["--platform", "mac"]  # a wrong word is told first, whoever says it
        wrong = subprocess.run(command, capture_output=True, text=True, check=False)
        Path(folder).chmod(0o755)
    assert "mac: expected rtx, jetson or cpu" in one_line(wrong)
    assert "no permission to write here: run as " in one_line(result)


@needs_cpu
def test_who_may_not_install_learns_what_to_ask_for(shell: Shell) -> None:
    setup = ROOT / "scripts" / "setup.sh"
    nobody = {"id": "echo 1000", "dpkg-query": "exit 1"}
    asked = "apt-get install --no-install-recommends python3 python3-venv python3-gi"
    if not shutil.which("sudo"):
        alone = one_line(shell(setup, "--step", "system", programs=nobody))
        assert f"setup: not root and no sudo: ask an administrator for: {asked}" in alone
    refused = one_line(shell(setup, "--step", "system", programs=nobody | {"sudo": "exit 1"}))
    assert f"(see above); an administrator's command is: {asked}" in refused


@needs_cpu
@pytest.mark.parametrize("way", ["anew", "dry", "installed"])
def test_no_space(checkout: Path, way: str) -> None:
    """On a disk of a few megabytes, in a mount namespace of its own."""
    place = checkout.parent / "small"
    place.mkdir()
    script = (
        f"mount -t tmpfs -o size=8m small {place} && cp -r {checkout} {place}/x && "
        f"exec {place}/x/scripts/install_cart.sh" + (" --dry-run" if way == "dry" else "")
    )
    if way == "installed":
        (checkout / ".venv" / "bin").mkdir(parents=True)
        for name in (".venv/bin/xpnet", "scripts/setup.sh"):
            shutil.copy("/bin/true", checkout / name)
    unshare = ["unshare", "--mount", "--map-root-user", "sh", "-c", script]
    if subprocess.run([*unshare[:-1], "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody make a namespace")
    result = subprocess.run(unshare, capture_output=True, text=True, check=False)
    if way == "anew":
        assert "MiB are free on its disk, expected 4000 or more" in one_line(result)
    else:
        assert result.returncode == 0, result.stderr


def test_an_install_that_breaks_off_half_way_is_mended_by_running_it_again(
    shell: Shell, checkout: Path, tmp_path: Path
) -> None:
    """The real pip, from a folder of wheels that lacks one at first."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    wheel(wheels, "first")
    (checkout / "requirements.txt").write_text("first==1.0\nsecond==1.0\n")
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels), "PIP_CONFIG_FILE": os.devnull}
    setup = checkout / "scripts" / "setup.sh"
    broken = shell(setup, "--step", "python", **offline)
    assert broken.returncode == 1
    assert "No matching distribution found for second==1.0" in broken.stderr
    last = broken.stderr.splitlines()[-1]
    assert last == (
        "setup: failed while installing Python packages (see above); running it again continues"
    )
    wheel(wheels, "second")
    mended = shell(setup, "--step", "python", **offline)
    assert mended.returncode == 0, mended.stderr
    python = checkout / ".venv" / "bin" / "python"
    subprocess.run([python, "-c", "import first, second"], check=True)
    again = shell(setup, "--step", "python", **offline)
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    gone = shell(checkout / "scripts" / "install_cart.sh", "--uninstall")
    assert gone.returncode == 0, gone.stderr
    assert not (checkout / ".venv").exists()


def wheel(folder: Path, name: str, version: str = "1.0") -> None:
    """A package with one empty module."""
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as file:
        file.writestr(f"{name}.py", "")
        file.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        tag = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        file.writestr(f"{info}/WHEEL", tag)
        file.writestr(f"{info}/RECORD", "")
