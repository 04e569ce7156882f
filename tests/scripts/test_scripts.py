"""The shell scripts: help, dry runs, errors, and a real installation with a local package index."""

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

from xpnet.paths import ROOT

SCRIPTS = sorted(
    path
    for folder in ("scripts", "jetson")
    for path in (ROOT / folder).glob("*.sh")
    if path.name != "common.sh"
)
Shell = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """Return a function that runs a script; `programs` maps names to shell code, first on PATH."""

    def call(
        path: Path, *arguments: object, programs: dict[str, str] | None = None, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        for name, text in (programs or {}).items():
            (folder / name).write_text(f"#!/bin/sh\n{text}\n")
            (folder / name).chmod(0o755)
        environment = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"} | variables
        return subprocess.run(
            [str(path), *map(str, arguments)],
            env=environment, capture_output=True, text=True, timeout=150,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip

    return call


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the scripts that a test may change."""
    folder = tmp_path / "checkout"
    for name in ("scripts", "jetson"):
        shutil.copytree(ROOT / name, folder / name)
    (folder / "triton_models" / "xpnet_lite" / "1").mkdir(parents=True)
    return folder


def write_fake_xpnet(checkout: Path, text: str = "") -> None:
    program = checkout / ".venv" / "bin" / "xpnet"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)


def error_line(result: subprocess.CompletedProcess[str]) -> str:
    """Return the only line on stderr of a script that exited with 2."""
    assert result.returncode == 2, result.stdout + result.stderr
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    return lines[0]


def dry_run_commands(result: subprocess.CompletedProcess[str]) -> list[str]:
    """Return the commands that a dry run printed, with paths relative to the checkout."""
    assert result.returncode == 0, result.stderr
    lines = [line[2:] for line in result.stdout.splitlines() if line.startswith("+ ")]
    return [line.replace(f"{ROOT}/", "") for line in lines]


needs_cpu_machine = pytest.mark.skipif(
    platform.machine() != "x86_64" or shutil.which("nvidia-smi") is not None,
    reason="expects the messages of an x86_64 machine without a GPU",
)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: p.name)
def test_help_begins_with_the_usage_line(shell: Shell, path: Path) -> None:
    result = shell(path, "--help")
    assert result.returncode == 0
    assert result.stdout.startswith(f"Usage: {path.relative_to(ROOT)}")


@pytest.mark.parametrize(
    "path",
    # perf_analyzer.sh passes unknown options to `xpnet bench server`.
    [path for path in SCRIPTS if path.name != "perf_analyzer.sh"],
    ids=lambda p: p.name,
)
def test_unknown_option_gives_one_line(shell: Shell, path: Path) -> None:
    assert "unknown option '--nonsense'" in error_line(shell(path, "--nonsense"))


def test_install_dry_run_prints_the_commands_of_each_platform(shell: Shell) -> None:
    install = ROOT / "scripts" / "install_cart.sh"
    commands = dry_run_commands(shell(install, "--dry-run", "--platform", "cpu"))
    assert commands == ["scripts/setup.sh"]
    for platform_name in ("rtx", "jetson"):
        assert dry_run_commands(shell(install, "--dry-run", "--platform", platform_name)) == [
            "scripts/install_pyds.sh",
            "scripts/setup.sh --deepstream",
            f"scripts/build_engines.sh --platform {platform_name}",
        ]
    commands = dry_run_commands(shell(install, "--dry-run", "--platform", "cpu", "--service"))
    assert commands[-1] == "systemctl enable --now xpnet-cart.service"
    last_command = dry_run_commands(shell(install, "--dry-run", "--uninstall"))[-1]
    assert last_command.startswith("rm -rf .venv .triton triton_models/")


def test_build_engines_passes_its_options_to_xpnet_build(shell: Shell) -> None:
    build = ROOT / "scripts" / "build_engines.sh"
    command = ".venv/bin/xpnet build --target"
    assert dry_run_commands(shell(build, "--dry-run", "--platform", "rtx")) == [
        f"{command} rtx --model xpnet_lite --if-needed"
    ]
    options = ("--platform", "jetson", "--model", "xpnet", "--model", "xpnet_lite", "--dla", "0",
               "--precision", "fp16", "--precision", "int8", "--force")  # fmt: skip
    result = shell(build, "--dry-run", *options, XPNET_TIMING_CACHE="/plans/t.cache")
    passed = "--dla 0 --precision fp16 int8 --timing-cache /plans/t.cache"
    assert dry_run_commands(result) == [
        f"{command} jetson --model {model} {passed}" for model in ("xpnet", "xpnet_lite")
    ]


def test_launch_dry_run_prints_the_commands_of_graph_and_app(shell: Shell) -> None:
    launch = ROOT / "scripts" / "launch_cart.sh"
    # The picture on a screen does not wait for inference on a CPU, a file does; options win.
    start = "exec .venv/bin/xpnet run docs/demo/colonoscopy.mp4 --output"
    result = shell(launch, "--dry-run", "--platform", "cpu", "--", "--opacity", "0.5")
    assert dry_run_commands(result) == [
        f"{start} screen --platform gstreamer --mode latest --opacity 0.5"
    ]
    result = shell(launch, "--dry-run", "--platform", "cpu", "--sink", "o.mkv")
    assert dry_run_commands(result) == [f"{start} o.mkv --platform gstreamer"]
    result = shell(launch, "--dry-run", "--platform", "cpu", "--", "--mode", "every")
    assert dry_run_commands(result)[0].endswith("--mode latest --mode every")
    service = {"XPNET_KIND": "graph", "XPNET_SINK": "drm", "XPNET_SOURCE": "/dev/video0"}
    commands = dry_run_commands(shell(launch, "--dry-run", "--platform", "jetson", **service))
    assert commands[-1] == "exec .venv/bin/xpnet run /dev/video0 --output drm --platform deepstream"
    app = service | {"XPNET_KIND": "app"}
    commands = dry_run_commands(shell(launch, "--dry-run", "--platform", "jetson", **app))
    assert commands[-2:] == [
        ".venv/bin/xpnet deploy --platform jetson --source /dev/video0 --sink drm "
        "--triton inprocess --output build/cart",
        r"exec deepstream-app -c build/cart/cart_\*.txt",
    ]


def test_deepstream_app_gets_the_file_that_deploy_wrote(shell: Shell, checkout: Path) -> None:
    """With the real `xpnet deploy` and fakes of nvidia-smi and deepstream-app."""
    write_fake_xpnet(checkout, f'PYTHONPATH={ROOT} exec {sys.executable} -m xpnet.cli "$@"')
    stale = checkout / "build" / "cart" / "cart_of_yesterday.txt"
    stale.parent.mkdir(parents=True)
    stale.touch()
    options = ("--app", "--source", "/dev/video0", "--sink", "screen", "--", "--size", "1280x720")
    programs = {"nvidia-smi": "true", "deepstream-app": 'echo "app $*"; cat "$2"'}
    result = shell(checkout / "scripts" / "launch_cart.sh", *options, programs=programs)
    assert result.returncode == 0, result.stderr
    written = checkout / "build" / "cart" / "cart_rtx_v4l2_screen_inprocess.txt"
    assert f"app -c {written}" in result.stdout
    assert "camera-width=1280" in result.stdout
    assert not stale.exists()


def test_deepstream_app_gets_no_end_of_input_from_dev_null(shell: Shell, checkout: Path) -> None:
    """deepstream-app polls its input; at the end of it, each poll would print an empty line."""
    write_fake_xpnet(checkout)
    poll = "import select; print('readable:', len(select.select([0], [], [], 0.2)[0]))"
    programs = {"nvidia-smi": "true", "deepstream-app": f'{sys.executable} -c "{poll}"'}
    launch = checkout / "scripts" / "launch_cart.sh"
    result = shell(launch, "--app", programs=programs, TMPDIR=str(checkout))
    assert (result.returncode, result.stdout) == (0, "readable: 0\n"), result.stderr
    assert {path.name for path in checkout.iterdir()} == {".venv", "scripts", "jetson",
                                                          "triton_models"}  # fmt: skip


def test_commands_of_the_scripts_are_valid_xpnet_commands(shell: Shell) -> None:
    from xpnet.cli import build_parser

    launch, build = ROOT / "scripts" / "launch_cart.sh", ROOT / "scripts" / "build_engines.sh"
    commands = []
    for platform_name in ("rtx", "jetson", "cpu"):
        options = ("--dry-run", "--platform", platform_name)
        commands += dry_run_commands(shell(launch, *options, "--graph"))
        if platform_name != "cpu":
            commands += dry_run_commands(shell(launch, *options, "--app"))
            commands += dry_run_commands(shell(build, *options, "--dla", "1"))
    xpnet_commands = [c.removeprefix("exec ").split() for c in commands if ".venv/bin/xpnet" in c]
    assert {words[1] for words in xpnet_commands} == {"run", "deploy", "build"}
    for words in xpnet_commands:
        build_parser().parse_args(words[1:])


def test_perf_analyzer_passes_its_options_to_xpnet_bench(shell: Shell) -> None:
    result = shell(ROOT / "scripts" / "perf_analyzer.sh", "--dry-run", "--url", "h:8001")
    assert dry_run_commands(result) == [".venv/bin/xpnet bench server --url h:8001"]


@needs_cpu_machine
@pytest.mark.parametrize(
    ("script", "arguments", "message"),
    [
        ("scripts/install_cart", ["--platform", "jetson"], "jetson: this machine is cpu"),
        ("scripts/install_cart", ["--platform", "mac"], "mac: expected rtx, jetson or cpu"),
        ("scripts/install_cart", ["--platform"], "--platform: value is missing"),
        ("scripts/build_engines", [], "no NVIDIA GPU found: build a plan on the machine"),
        ("scripts/launch_cart", ["--app"], "no NVIDIA GPU found: deepstream-app needs one"),
        ("scripts/setup", ["--deepstream"], "install NVIDIA DeepStream first"),
        ("scripts/setup", ["--step", "sixth"], "--step sixth: expected system, python, server or"),
        ("scripts/install_pyds", [], "apps_install.sh: install NVIDIA DeepStream first"),
        ("scripts/install_pyds", ["--where"], "no wheel of pyds in"),
        ("jetson/install", [], "jetson: this machine is cpu"),
        ("jetson/set_power_mode", [], "this machine is cpu: expected a Jetson"),
    ],
)  # fmt: skip
def test_wrong_platform_or_argument_gives_one_line(
    shell: Shell, script: str, arguments: list[str], message: str
) -> None:
    assert message in error_line(shell(ROOT / f"{script}.sh", *arguments))


@pytest.mark.parametrize(
    ("script", "machine", "message"),
    [
        ("install_cart", "aarch64", "expected x86_64, or a Jetson with JetPack"),
        ("setup", "riscv64", "machine is riscv64: expected x86_64 or aarch64"),
    ],
)
def test_unsupported_machine_gives_one_line(
    shell: Shell, script: str, machine: str, message: str
) -> None:
    result = shell(ROOT / "scripts" / f"{script}.sh", programs={"uname": f"echo {machine}"})
    assert message in error_line(result)


def test_unknown_kind_of_launch_gives_one_line(shell: Shell, checkout: Path) -> None:
    write_fake_xpnet(checkout)
    result = shell(checkout / "scripts" / "launch_cart.sh", XPNET_KIND="movie")
    assert "XPNET_KIND=movie: expected graph or app" in error_line(result)


@needs_cpu_machine
@pytest.mark.parametrize("script", ["launch_cart", "perf_analyzer"])
def test_missing_installation_gives_the_command_to_install(
    shell: Shell, checkout: Path, script: str
) -> None:
    line = error_line(shell(checkout / "scripts" / f"{script}.sh"))
    assert line == f"{script}: xpnet is not installed: run scripts/install_cart.sh"


@needs_cpu_machine
def test_checkout_without_write_permission_gives_one_line() -> None:
    """Run as another user if the tests run as root, because root may write everywhere."""
    with tempfile.TemporaryDirectory() as folder:  # unlike tmp_path, every user can reach it
        Path(folder).chmod(0o755)
        shutil.copytree(ROOT / "scripts", Path(folder, "scripts"))
        command = [f"{folder}/scripts/install_cart.sh"]
        if os.geteuid() == 0:
            command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *command]
        else:
            Path(folder).chmod(0o555)
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        command += ["--platform", "mac"]
        wrong_option = subprocess.run(command, capture_output=True, text=True, check=False)
        Path(folder).chmod(0o755)
    assert "no permission to write: run this as user " in error_line(result)
    assert "mac: expected rtx, jetson or cpu" in error_line(wrong_option)


@needs_cpu_machine
def test_setup_without_root_names_the_command_for_an_administrator(shell: Shell) -> None:
    setup = ROOT / "scripts" / "setup.sh"
    programs = {"id": "echo 1000", "dpkg-query": "exit 1"}
    command = "apt-get install --no-install-recommends python3 python3-venv python3-gi"
    if not shutil.which("sudo"):
        line = error_line(shell(setup, "--step", "system", programs=programs))
        message = "needs root, and sudo is not installed: ask an administrator to run"
        assert f"setup: {message}: {command}" in line
    sudo_refuses = programs | {"sudo": "exit 1"}
    line = error_line(shell(setup, "--step", "system", programs=sudo_refuses))
    assert f"apt-get failed (see above); ask an administrator to run: {command}" in line


@needs_cpu_machine
@pytest.mark.parametrize("case", ["first installation", "dry run", "installed"])
def test_disk_space_is_checked_before_a_first_installation(checkout: Path, case: str) -> None:
    """The checkout is on a disk of 8 MB: a tmpfs in its own mount namespace."""
    disk = checkout.parent / "disk"
    disk.mkdir()
    script = (
        f"mount -t tmpfs -o size=8m small {disk} && cp -r {checkout} {disk}/x && "
        f"exec {disk}/x/scripts/install_cart.sh" + (" --dry-run" if case == "dry run" else "")
    )
    if case == "installed":
        (checkout / ".venv" / "bin").mkdir(parents=True)
        for name in (".venv/bin/xpnet", "scripts/setup.sh"):
            shutil.copy("/bin/true", checkout / name)
    unshare = ["unshare", "--mount", "--map-root-user", "sh", "-c", script]
    if subprocess.run([*unshare[:-1], "true"], capture_output=True, check=False).returncode:
        pytest.skip("this user cannot create a mount namespace")
    result = subprocess.run(unshare, capture_output=True, text=True, check=False)
    if case == "first installation":
        assert "MiB free on its disk, expected 4000 or more" in error_line(result)
    else:
        assert result.returncode == 0, result.stderr


def test_failed_installation_continues_when_run_again(
    shell: Shell, checkout: Path, tmp_path: Path
) -> None:
    """With the real pip, and a folder of wheels that lacks one at first."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    write_wheel(wheels, "first")
    (checkout / "requirements.txt").write_text("first==1.0\nsecond==1.0\n")
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels), "PIP_CONFIG_FILE": os.devnull}
    setup = checkout / "scripts" / "setup.sh"
    failed = shell(setup, "--step", "python", **offline)
    assert failed.returncode == 1
    assert "No matching distribution found for second==1.0" in failed.stderr
    assert failed.stderr.splitlines()[-1] == (
        "setup: failed while installing Python packages (see above); run it again to continue"
    )
    write_wheel(wheels, "second")
    continued = shell(setup, "--step", "python", **offline)
    assert continued.returncode == 0, continued.stderr
    python = checkout / ".venv" / "bin" / "python"
    subprocess.run([python, "-c", "import first, second"], check=True)
    up_to_date = shell(setup, "--step", "python", **offline)
    assert (up_to_date.returncode, up_to_date.stdout, up_to_date.stderr) == (0, "", "")
    uninstalled = shell(checkout / "scripts" / "install_cart.sh", "--uninstall")
    assert uninstalled.returncode == 0, uninstalled.stderr
    assert not (checkout / ".venv").exists()


def write_wheel(folder: Path, name: str, version: str = "1.0") -> None:
    """Write a wheel with one empty module."""
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as file:
        file.writestr(f"{name}.py", "")
        file.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        tag = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        file.writestr(f"{info}/WHEEL", tag)
        file.writestr(f"{info}/RECORD", "")
