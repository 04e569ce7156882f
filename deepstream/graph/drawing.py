"""Draws a description: DOT text for Graphviz."""

from __future__ import annotations

import re

from deepstream.graph.description import Description, ElementSpec
from deepstream.graph.element_tables import NVMM
from xpnet.addresses import without_credentials

NVIDIA, PROBE, PLAIN = "#76b900", "#00a5b8", "#8a8f98"
PATHS = ("uri", "location", "config-file-path")
"""Properties that hold a path; the drawing shows the file name only."""
ROW_LENGTH = 5
"""Elements side by side; a single line of fifteen would be too small to read."""


def as_dot(description: Description) -> str:
    """Return the graph in DOT, in rows from left to right: elements, properties, links, probes.

    NVIDIA's elements have a green border.

    Args:
        description: The graph to draw.
    """
    lines = [
        f'digraph "{description.platform}" {{',
        '  graph [rankdir=TB, fontname="Helvetica", nodesep=0.3, ranksep=0.45, splines=spline];',
        '  node [shape=plain, fontname="Helvetica", fontsize=11];',
        '  edge [fontname="Helvetica", fontsize=9, color="#444444"];',
    ]
    main, branch = _chains(description)
    lines += [f'  "{row.name}" [label=<{_label(description, row)}>];' for row in (*main, *branch)]
    rows = [main[i : i + ROW_LENGTH] for i in range(0, len(main), ROW_LENGTH)]
    rows += [branch] if branch else []
    for row in rows:
        names = "; ".join(f'"{element.name}"' for element in row)
        lines.append(f"  {{ rank=same; {names} }}")
    # Invisible links put the rows below each other.
    heads = " -> ".join(f'"{row[0].name}"' for row in rows)
    if len(rows) > 1:
        lines.append(f"  {heads} [style=invis, weight=50];")
    starts = {row[0].name for row in rows}
    for link in description.links:
        words = []
        if link.media:
            words.append(f'label="{link.media}, added later", style=dashed')
        if link.target in starts or _leaves_row(link.source, link.target, rows):
            words.append("constraint=false")
        words.append("penwidth=1.4")
        lines.append(f'  "{link.source}" -> "{link.target}" [{", ".join(words)}];')
    return "\n".join([*lines, "}"]) + "\n"


def _chains(description: Description) -> tuple[list[ElementSpec], list[ElementSpec]]:
    """Return the elements of the video branch and of the audio branch, in order."""
    cut = [row.name for row in description.elements].index("sink") + 1
    return list(description.elements[:cut]), list(description.elements[cut:])


def _leaves_row(source: str, target: str, rows: list[list[ElementSpec]]) -> bool:
    """Return whether a link leads to another row."""
    row_of = {element.name: number for number, row in enumerate(rows) for element in row}
    return row_of[source] != row_of[target]


def _label(description: Description, row: ElementSpec) -> str:
    """Return an HTML-like table: factory, name, properties, probes."""
    colour = NVIDIA if row.factory.startswith("nv") else PLAIN
    cells = [f'<tr><td bgcolor="{colour}22"><b>{_escaped(row.factory)}</b></td></tr>']
    if not row.name.startswith(row.factory):
        cells.append(f"<tr><td><i>{_escaped(row.name)}</i></td></tr>")
    for key, value in row.properties.items():
        if not value:
            continue
        shown = value.replace(NVMM, "NVMM").replace("video/x-raw,", "")
        shown = re.sub(r"\{(\w+),.*?\}", r"\1 or others", shown)  # a list of formats
        if key in PATHS:
            shown = without_credentials(shown).rpartition("/")[2]
        text = f"{key} = {shown}" if key != "caps" else shown.replace(",", "\n")
        for line in text.splitlines():
            cells.append(
                f'<tr><td align="left"><font point-size="9">{_escaped(line)}</font></td></tr>'
            )
    for probe in description.probes:
        if probe.element == row.name:
            cells.append(
                f'<tr><td bgcolor="{PROBE}"><font color="white" point-size="10">probe on '
                f"{probe.pad}: {probe.handler}</font></td></tr>"
            )
    return (
        f'<table border="1" cellborder="0" cellspacing="0" cellpadding="3" color="{colour}" '
        f'style="rounded">{"".join(cells)}</table>'
    )


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
