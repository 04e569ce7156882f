"""Every name of pyds in the probe and in the tests' pyds exists in the real pyds.

pyds-stubs lists them. They declare Python 3.12 and import pyds itself, so they are read as text.
"""

from __future__ import annotations

import ast
import importlib.metadata
import inspect
import re
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.deepstream.nvds import pyds

pytestmark = pytest.mark.integration

MODULES = ("probes/nvds_probe.py", "probes/nvds_objects.py", "platforms/deepstream_checks.py")


@pytest.fixture(scope="module")
def stub() -> ast.Module:
    path = importlib.metadata.distribution("pyds-stubs").locate_file("pyds-stubs/stub.pyi")
    text = Path(str(path)).read_text(encoding="utf-8")
    return ast.parse(re.sub(r"^type (\w+ =)", r"\1", text, flags=re.MULTILINE))  # syntax of 3.12


@pytest.fixture(scope="module")
def names(stub: ast.Module) -> set[str]:
    """Return the names of `from pyds import *`."""
    for node in stub.body:
        if isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == "__all__":
            return set(ast.literal_eval(node.value))  # type: ignore[arg-type]
    raise AssertionError("the stub has no __all__")


def members(stub: ast.Module, name: str) -> set[str]:
    """Return attributes and methods of a class: declared, or named in its docstring (:ivar x:)."""
    (node,) = (n for n in stub.body if isinstance(n, ast.ClassDef) and n.name == name)
    declared = {n.target.id for n in node.body if isinstance(n, ast.AnnAssign)}
    declared |= {n.name for n in node.body if isinstance(n, ast.FunctionDef)}
    declared |= {t.id for n in node.body if isinstance(n, ast.Assign) for t in n.targets}
    return declared | set(re.findall(r":ivar (\w+):", ast.get_docstring(node) or ""))


def used_names(text: str) -> set[str]:
    """Return X of every `pyds.X` and `self.pyds.X`."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Attribute):
            owner = node.value
            name = owner.id if isinstance(owner, ast.Name) else getattr(owner, "attr", "")
            if name == "pyds":
                found.add(node.attr)
    return found


def test_names_used_by_the_probe_exist_in_pyds(names: set[str]) -> None:
    used: set[str] = set()
    for module in MODULES:
        used |= used_names((ROOT / "deepstream" / module).read_text(encoding="utf-8"))
    assert used <= names
    assert {"NvDsFrameMeta", "get_nvds_buf_surface", "nvds_add_obj_meta_to_frame"} <= used
    assert used_names("self.pyds.get_surface(1)") - names == {"get_surface"}


def test_names_of_the_pyds_substitute_exist_in_pyds(names: set[str]) -> None:
    assert set(pyds.__all__) <= names


@pytest.mark.parametrize("name", [n for n in pyds.__all__ if inspect.isclass(getattr(pyds, n))])
def test_attributes_of_the_pyds_substitute_exist_in_pyds(stub: ast.Module, name: str) -> None:
    offered = {
        attribute
        for owner in getattr(pyds, name).__mro__
        if owner.__module__.startswith("tests.")
        for attribute in vars(owner)
        if not attribute.startswith("_")
    }
    assert offered - members(stub, name) == set()


@pytest.mark.parametrize("name", [n for n in pyds.__all__ if inspect.isfunction(getattr(pyds, n))])
def test_functions_of_the_pyds_substitute_have_the_same_parameters(
    stub: ast.Module, name: str
) -> None:
    (node,) = (n for n in stub.body if isinstance(n, ast.FunctionDef) and n.name == name)
    ours = list(inspect.signature(getattr(pyds, name)).parameters)
    assert ours == [argument.arg for argument in node.args.args]


def test_unknown_attribute_cannot_be_set() -> None:
    meta = pyds.NvDsObjectMeta()
    with pytest.raises(AttributeError, match="NvDsObjectMeta has no obj_lable"):
        meta.obj_lable = "polyp"
