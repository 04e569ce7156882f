"""jetson/set_power_mode.sh: show, confirm, set and restore power mode and clocks.

nvpmodel and jetson_clocks exist only on a Jetson. Fakes print what NVIDIA's programs print (as
recorded by github.com/rbonghi/jetson_stats), store the mode and log their calls.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from xpnet.paths import ROOT

NVPMODEL = """#!/bin/sh
case $1 in
  -q) echo 'NVPM WARN: fan mode is not set!'; echo 'NV Power Mode: MODE_15W'; cat {folder}/mode ;;
  -p) for mode in '0 NAME=MAXN' '1 NAME=MODE_15W' '2 NAME=MODE_30W'; do
        echo "NVPM VERB: POWER_MODEL: ID=$mode"; done; seq -f 'NVPM VERB: line %f' 20000 ;;
  -m) echo "nvpmodel -m $2" >> {folder}/calls; echo $2 > {folder}/mode ;;
esac
"""
JETSON_CLOCKS = """#!/bin/sh
echo "jetson_clocks $*" >> {folder}/calls
[ "$1" != --store ] || echo stored > "$2"
"""


class Jetson:
    """A Jetson with fake programs on PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.state = folder, folder / "xpnet"
        (folder / "mode").write_text("1\n")
        (folder / "calls").write_text("")
        # `detect_machine` of common.sh needs a file that only a Jetson has.
        (folder / "scripts").mkdir()
        common = (ROOT / "scripts" / "common.sh").read_text(encoding="utf-8")
        assert "/etc/nv_tegra_release" in common
        changed = common.replace("/etc/nv_tegra_release", str(folder / "mode"))
        (folder / "scripts" / "common.sh").write_text(changed)
        self.script = folder / "jetson" / "set_power_mode.sh"
        self.script.parent.mkdir()
        text = (ROOT / "jetson" / "set_power_mode.sh").read_text(encoding="utf-8")
        self.write(self.script, text)
        (folder / "bin").mkdir()
        self.write(folder / "bin" / "uname", "#!/bin/sh\necho aarch64\n")
        self.write(folder / "bin" / "sudo", '#!/bin/sh\nexec "$@"\n')
        self.write(folder / "bin" / "nvpmodel", NVPMODEL.format(folder=folder))
        self.write(folder / "bin" / "jetson_clocks", JETSON_CLOCKS.format(folder=folder))

    def write(self, path: Path, text: str) -> None:
        path.write_text(text)
        path.chmod(0o755)

    def run(self, *options: str, answer: str = "") -> subprocess.CompletedProcess[str]:
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        return subprocess.run(
            [self.script, *options],
            env=os.environ | {"PATH": path, "XPNET_POWER_STATE": str(self.state)},
            input=answer, capture_output=True, text=True, check=False,
        )  # fmt: skip

    def take_calls(self) -> list[str]:
        """Return the calls since the last `take_calls` that change something."""
        calls = (self.folder / "calls").read_text().replace(f"{self.state}/", "").splitlines()
        (self.folder / "calls").write_text("")
        return calls


@pytest.fixture
def jetson(tmp_path: Path) -> Jetson:
    return Jetson(tmp_path)


def test_dry_run_prints_the_commands_and_changes_nothing(jetson: Jetson) -> None:
    result = jetson.run("--mode", "0", "--dry-run")
    assert result.returncode == 0, result.stderr
    assert "current mode: MODE_15W (1)" in result.stdout
    assert "modes: 0 MAXN, 1 MODE_15W, 2 MODE_30W," in result.stdout
    commands = [line for line in result.stdout.splitlines() if line.startswith("+ ")]
    assert commands[-2:] == ["+ nvpmodel -m 0", "+ jetson_clocks"]
    assert jetson.take_calls() == []
    assert not jetson.state.exists()


@pytest.mark.parametrize("answer", ["n\n", "", "perhaps\n"])
def test_any_answer_but_yes_changes_nothing(jetson: Jetson, answer: str) -> None:
    result = jetson.run("--mode", "0", answer=answer)
    assert (result.returncode, jetson.take_calls()) == (0, [])
    assert "nothing was changed" in result.stdout


def test_incomplete_state_of_an_interrupted_run_is_replaced(jetson: Jetson) -> None:
    """jetson_clocks asks before it overwrites a file; the fake fails instead."""
    jetson.state.mkdir()
    (jetson.state / "clocks.conf").write_text("half")
    jetson.write(
        jetson.folder / "bin" / "jetson_clocks",
        JETSON_CLOCKS.format(folder=jetson.folder).replace("[ ", '[ -e "$2" ] && exit 9\n[ ', 1),
    )
    result = jetson.run("--mode", "0", "--yes")
    assert result.returncode == 0, result.stderr
    assert (jetson.state / "clocks.conf").read_text() == "stored\n"


def test_undo_restores_the_state_before_the_first_change(jetson: Jetson) -> None:
    assert jetson.run("--mode", "0", answer="y\n").returncode == 0
    assert jetson.take_calls() == [
        "jetson_clocks --store clocks.conf",
        "nvpmodel -m 0",
        "jetson_clocks ",
    ]
    assert jetson.run("--mode", "2", "--yes").returncode == 0
    assert jetson.take_calls() == ["nvpmodel -m 2", "jetson_clocks "]
    assert jetson.run("--undo", "--yes").returncode == 0
    assert jetson.take_calls() == ["nvpmodel -m 1", "jetson_clocks --restore clocks.conf"]
    second = jetson.run("--undo", "--yes")
    assert (second.returncode, jetson.take_calls()) == (2, [])
    assert second.stderr.endswith("/mode does not exist: nothing to undo\n")


@pytest.mark.parametrize(
    ("mode", "message"), [("7", "has no such mode"), ("max", "expected a number")]
)
def test_unknown_mode_is_rejected(jetson: Jetson, mode: str, message: str) -> None:
    result = jetson.run("--mode", mode, "--yes")
    assert (result.returncode, jetson.take_calls()) == (2, [])
    assert message in result.stderr


def test_missing_program_gives_one_line(jetson: Jetson) -> None:
    (jetson.folder / "bin" / "jetson_clocks").unlink()
    result = jetson.run("--yes")
    assert result.returncode == 2
    assert result.stderr == (
        "set_power_mode: jetson_clocks is not installed: expected a Jetson with JetPack\n"
    )
