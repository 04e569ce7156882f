"""A Jetson's power mode and clocks: shown, asked for, set, undone.

nvpmodel and jetson_clocks are on a Jetson alone. Stand-ins print what NVIDIA's print (as
github.com/rbonghi/jetson_stats has recorded it) and keep the mode and a list of calls.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT

NVPMODEL = """#!/bin/sh
case $1 in
  -q) echo 'NVPM WARN: fan mode is not set!'; echo 'NV Power Mode: MODE_15W'; cat {state}/mode ;;
  -p) for mode in '0 NAME=MAXN' '1 NAME=MODE_15W' '2 NAME=MODE_30W'; do
        echo "NVPM VERB: POWER_MODEL: ID=$mode"; done; seq -f 'NVPM VERB: line %f' 20000 ;;
  -m) echo "nvpmodel -m $2" >> {state}/calls; echo $2 > {state}/mode ;;
esac
"""
CLOCKS = """#!/bin/sh
echo "jetson_clocks $*" >> {state}/calls
[ "$1" != --store ] || echo stored > "$2"
"""


class Jetson:
    """Stand-ins on PATH, and what they were asked."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.state = folder, folder / "xpnet"
        (folder / "mode").write_text("1\n")
        (folder / "calls").write_text("")
        # `machine` in common.sh asks uname and looks for a file that only a Jetson has.
        (folder / "scripts").mkdir()
        common = (ROOT / "scripts" / "common.sh").read_text(encoding="utf-8")
        assert "/etc/nv_tegra_release" in common
        mine = common.replace("/etc/nv_tegra_release", str(folder / "mode"))
        (folder / "scripts" / "common.sh").write_text(mine)
        (folder / "jetson").mkdir()
        text = (ROOT / "jetson" / "power.sh").read_text(encoding="utf-8")
        self.put(folder / "jetson" / "power.sh", text)
        (folder / "bin").mkdir()
        self.put(folder / "bin" / "uname", "#!/bin/sh\necho aarch64\n")
        self.put(folder / "bin" / "sudo", '#!/bin/sh\nexec "$@"\n')
        self.put(folder / "bin" / "nvpmodel", NVPMODEL.format(state=folder))
        self.put(folder / "bin" / "jetson_clocks", CLOCKS.format(state=folder))

    def put(self, path: Path, text: str) -> None:
        path.write_text(text)
        path.chmod(0o755)

    def power(self, *words: str, said: str = "") -> subprocess.CompletedProcess[str]:
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        return subprocess.run(
            [self.folder / "jetson" / "power.sh", *words],
            env=os.environ | {"PATH": path, "XPNET_POWER_STATE": str(self.state)},
            input=said, capture_output=True, text=True, check=False,
        )  # fmt: skip

    def calls(self) -> list[str]:
        found = (self.folder / "calls").read_text().replace(f"{self.state}/", "").splitlines()
        (self.folder / "calls").write_text("")
        return found


@pytest.fixture
def jetson(tmp_path: Path) -> Jetson:
    return Jetson(tmp_path)


def test_a_dry_run_shows_and_changes_nothing(jetson: Jetson) -> None:
    result = jetson.power("--mode", "0", "--dry-run")
    assert result.returncode == 0, result.stderr
    assert "mode now: MODE_15W (1)" in result.stdout
    assert "modes: 0 MAXN, 1 MODE_15W, 2 MODE_30W," in result.stdout
    shown = [line for line in result.stdout.splitlines() if line.startswith("+ ")]
    assert shown[-2:] == ["+ nvpmodel -m 0", "+ jetson_clocks"]
    assert jetson.calls() == []
    assert not jetson.state.exists()


@pytest.mark.parametrize("answer", ["n\n", "", "perhaps\n"])
def test_only_yes_is_yes(jetson: Jetson, answer: str) -> None:
    result = jetson.power("--mode", "0", said=answer)
    assert (result.returncode, jetson.calls()) == (0, [])
    assert "nothing was changed" in result.stdout


def test_a_run_cut_off_between_store_and_mode(jetson: Jetson) -> None:
    """jetson_clocks asks before it writes over what is there: then it is not there."""
    jetson.state.mkdir()
    (jetson.state / "clocks.conf").write_text("half")
    jetson.put(
        jetson.folder / "bin" / "jetson_clocks",
        CLOCKS.format(state=jetson.folder).replace("[ ", '[ -e "$2" ] && exit 9\n[ ', 1),
    )
    result = jetson.power("--mode", "0", "--yes")
    assert result.returncode == 0, result.stderr
    assert (jetson.state / "clocks.conf").read_text() == "stored\n"


def test_set_twice_and_undone(jetson: Jetson) -> None:
    assert jetson.power("--mode", "0", said="y\n").returncode == 0
    assert jetson.calls() == [
        "jetson_clocks --store clocks.conf",
        "nvpmodel -m 0",
        "jetson_clocks ",
    ]
    assert jetson.power("--mode", "2", "--yes").returncode == 0
    assert jetson.calls() == ["nvpmodel -m 2", "jetson_clocks "]  # what was stored first stays
    assert jetson.power("--undo", "--yes").returncode == 0
    assert jetson.calls() == ["nvpmodel -m 1", "jetson_clocks --restore clocks.conf"]
    again = jetson.power("--undo", "--yes")
    assert (again.returncode, jetson.calls()) == (2, [])
    assert again.stderr.endswith("/mode: nothing to undo\n")


@pytest.mark.parametrize(
    ("mode", "line"), [("7", "has no such mode"), ("max", "expected a number")]
)
def test_modes_that_are_none(jetson: Jetson, mode: str, line: str) -> None:
    result = jetson.power("--mode", mode, "--yes")
    assert (result.returncode, jetson.calls()) == (2, [])
    assert line in result.stderr


def test_a_jetson_without_the_programs(jetson: Jetson) -> None:
    (jetson.folder / "bin" / "jetson_clocks").unlink()
    result = jetson.power("--yes")
    assert result.returncode == 2
    assert result.stderr == "power: no jetson_clocks: expected a Jetson with JetPack\n"
