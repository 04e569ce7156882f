"""Hook of MkDocs: pages from the repository's root, and links to files outside docs/.

The pages are written for GitHub, where a link may name any file of the repository. In the site
README.md is the first page, and a linked file is a copy in `source/`, so that it can be read
without network. A link to a folder becomes plain text, as a site has no page for it.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files
from pymdownx.slugs import slugify

ROOT = Path(__file__).resolve().parents[2]
ROOT_PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md",
              "CHANGELOG.md": "changelog.md"}  # fmt: skip
"""Pages at the repository's root, and their names in the site."""
LINK = re.compile(r"(!?)\[([^\[\]]*(?:\[[^\[\]]*\][^\[\]]*)*)\]\(([^()\s]+)\)")
"""A link or an image: its mark, text and target."""


def on_config(config: Any) -> Any:
    """Make the anchors of headings as GitHub makes them."""
    config.mdx_configs["toc"]["slugify"] = slugify(case="lower")
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the root's pages, and copies of the files that pages link to."""
    for name, target in ROOT_PAGES.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, target, content=text))
    pages = [*ROOT_PAGES, *(f"docs/{f.src_uri}" for f in files.documentation_pages()
                            if f.src_uri not in ROOT_PAGES.values())]  # fmt: skip
    for source in sorted({s for page in pages for s in _linked_sources(page)}):
        file = File.generated(config, source_name(source), abs_src_path=str(ROOT / source))
        files.append(file)
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Rewrite the links of a page.

    Args:
        markdown: The page's text.
        page: The page of MkDocs.
    """
    return site_links(markdown, page.file.src_uri)


def site_links(markdown: str, src_uri: str) -> str:
    """Return a page's text with links that are right in the site.

    Args:
        markdown: The text as it is in the repository.
        src_uri: The page's path in the site's source, such as `reference/commands.md`.
    """
    names = {target: name for name, target in ROOT_PAGES.items()}
    page = names.get(src_uri, f"docs/{src_uri}")

    def replace(match: re.Match[str]) -> str:
        mark, text, target = match.groups()
        path, hash_, anchor = target.partition("#")
        if not path or "://" in path or path.startswith("mailto:"):
            return match[0]
        found = _site_path(_repository_path(page, path))
        if found is None:
            return text
        link = posixpath.relpath(found, posixpath.dirname(src_uri) or ".")
        return f"{mark}[{text}]({link}{hash_}{anchor})"

    return LINK.sub(replace, markdown)


def source_name(path: str) -> str:
    """Return where the site has its copy of a file; browsers show .txt instead of saving it.

    MkDocs leaves out names that begin with a dot, so a first dot is removed.
    """
    return f"source/{path.removeprefix('.')}.txt"


def _repository_path(page: str, link: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), link))


def _site_path(path: str) -> str | None:
    """Return the path in the site of a file of the repository; None for a folder."""
    if path in ROOT_PAGES:
        return ROOT_PAGES[path]
    if (ROOT / path).is_dir():
        return None
    return path.removeprefix("docs/") if path.startswith("docs/") else source_name(path)


def _linked_sources(page: str) -> list[str]:
    """Return the files outside docs/ that a page links to; paths in the repository."""
    text = (ROOT / page).read_text(encoding="utf-8")
    targets = [m[3].partition("#")[0] for m in LINK.finditer(text)]
    paths = [_repository_path(page, t) for t in targets if t and "://" not in t]
    return [p for p in paths if (ROOT / p).is_file() and _site_path(p) == source_name(p)]
