from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.integration

EXCEPTION_IN_CPP = """
import numpy
import deepstream.gstreamer
import torch

try:
    torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 3))
except RuntimeError:
    print("caught")
"""


def test_exceptions_of_cpp_libraries_survive_beside_gstreamer() -> None:
    command = [sys.executable, "-c", EXCEPTION_IN_CPP]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout.strip()) == (0, "caught"), result.stderr
