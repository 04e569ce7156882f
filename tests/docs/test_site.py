"""The site of docs/: built strictly, complete, and readable without network."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.conftest import ROOT

pytest.importorskip(
    "material", reason="MkDocs Material is not installed: scripts/setup.sh --docs installs it"
)
from scripts.pages.site_hook import site_links


class Page(HTMLParser):
    """Collects what a page loads, what it links to, and its anchors."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.anchors.add(values.get("id", ""))
        if tag == "a":
            self.links.append(values.get("href", ""))
        else:
            self.loads += [values[name] for name in ("src", "href", "data") if name in values]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}


def test_every_page_of_the_project_is_in_the_site(site: Path) -> None:
    for path in (ROOT / "docs").rglob("*.md"):
        name = path.relative_to(ROOT / "docs").with_suffix(".html")
        assert (site / name).is_file(), name
    for name in ("index.html", "contributing.html", "changelog.html"):
        assert (site / name).is_file()
    assert "XP-Net finds polyps in live colonoscopy video" in (site / "index.html").read_text()


def test_pages_load_nothing_from_another_host(pages: dict[Path, Page], site: Path) -> None:
    for path, page in pages.items():
        assert [x for x in page.loads if urlsplit(x).netloc] == [], path
        assert "mermaid" not in path.read_text(encoding="utf-8"), path  # its script would be loaded
    for style in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*['\"]?(https?:)?//", style.read_text("utf-8"))


def test_links_and_anchors_within_the_site_exist(pages: dict[Path, Page], site: Path) -> None:
    for path, page in pages.items():
        if path.name == "404.html":
            continue  # its links start at the root of the server
        for link in (*page.links, *page.loads):
            parts = urlsplit(link)
            if parts.scheme or not (parts.path or parts.fragment):
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            assert target.is_file(), (path.name, link)
            if parts.fragment and target.suffix == ".html" and target in pages:
                assert unquote(parts.fragment) in pages[target].anchors, (path.name, link)


def test_links_out_of_docs_lead_to_copies() -> None:
    text = (
        "[a](../training/settings.py) [b](../training/configs) ![c](soak.png) [d](../README.md#x)"
    )
    assert site_links(text, "training.md") == (
        "[a](source/training/settings.py.txt) b ![c](soak.png) [d](index.md#x)"
    )
    assert site_links("[a](docs/soak.png) [b](LICENSE) [c](#d) [e](https://a.b/c)", "index.md") == (
        "[a](soak.png) [b](source/LICENSE.txt) [c](#d) [e](https://a.b/c)"
    )
    assert site_links("[a](../training.md)", "reference/commands.md") == "[a](../training.md)"


def test_copies_of_linked_files_are_the_files(site: Path) -> None:
    for name in ("training/settings.py", "LICENSE", "Dockerfile"):
        assert (site / "source" / f"{name}.txt").read_bytes() == (ROOT / name).read_bytes()
