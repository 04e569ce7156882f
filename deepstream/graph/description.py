"""A graph as data: its elements, their properties, links and probes, for every platform alike.

`describe` is the one function that both graphs come out of. It strings together rows of the
platform's table (deepstream/graph/element_tables.py); what it returns can be built (deepstream/graph/pipeline_builder.py),
checked against a table of elements and properties, written as a gst-launch line, and drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise, takewhile

from xpnet.errors import UserError


@dataclass(frozen=True)
class Row:
    """One element of a platform's table; `{words}` in factory and properties are filled in.

    `delayed`: its output pads come when it knows its streams. `sink_pad`: where it is linked, for
    one whose pads are requested. `probes`: pad and handler. `head`: an end of stream may be sent
    into it, to let what lies behind it run out. `apart`: it begins a branch, not behind the source.
    """

    factory: str
    name: str = ""
    properties: Mapping[str, str] = field(default_factory=dict)
    delayed: bool = False
    sink_pad: str = ""
    probes: tuple[tuple[str, str], ...] = ()
    head: bool = False
    apart: bool = False

    def filled(self, values: Mapping[str, str], number: int) -> Row:
        """The row with its words filled in, and named after its factory where it has no name."""
        factory = self.factory.format_map(values)
        return replace(
            self,
            factory=factory,
            name=self.name or f"{factory}{number}",
            properties={k: v.format_map(values) for k, v in self.properties.items()},
        )


@dataclass(frozen=True)
class Link:
    """From element to element; `media` is `video` or `audio` where a pad comes later."""

    source: str
    target: str
    target_pad: str = ""
    media: str = ""


@dataclass(frozen=True)
class ProbePoint:
    """A buffer probe: the pad of an element, and the handler of MaskProbes that it calls."""

    element: str
    pad: str
    handler: str


@dataclass(frozen=True)
class Description:
    """A whole graph.

    `sources` are the elements that errors of the input come from; `heads` the pads into which an
    end of stream may be sent.
    """

    platform: str
    elements: tuple[Row, ...]
    links: tuple[Link, ...]
    probes: tuple[ProbePoint, ...]
    sources: tuple[str, ...]
    heads: tuple[tuple[str, str], ...]

    def element(self, name: str) -> Row:
        """The element called `name`. Raises KeyError."""
        for row in self.elements:
            if row.name == name:
                return row
        raise KeyError(name)

    def upstream(self, name: str) -> set[str]:
        """The element called `name`, and those that lead to it."""
        found: set[str] = set()
        waiting = [name]
        while waiting:
            here = waiting.pop()
            if here not in found:
                found.add(here)
                waiting += [link.source for link in self.links if link.target == here]
        return found

    def as_launch(self) -> str:
        """The graph for gst-launch-1.0, without its probes: to try elements out on a target."""
        words = [
            " ".join([row.factory, f"name={row.name}", *(_word(k, v) for k, v in
                      row.properties.items())])
            for row in self.elements
        ]  # fmt: skip
        ends = [f"{link.source}. ! {link.target}.{link.target_pad}" for link in self.links]
        return " ".join([*words, *ends])


def _word(key: str, value: str) -> str:
    return f'{key}="{value}"' if any(c in value for c in " ,(!") else f"{key}={value}"


Table = Mapping[str, tuple[Row, ...]]
"""Rows by stage: `source.KIND`, `frame`, `inference.MODE`, `overlay`, `encoder.KIND`,
`sink.KIND`, `sound`."""


def describe(
    platform: str,
    table: Table,
    source: str,
    sink: str,
    mode: str,
    encoder: str,
    values: Mapping[str, str],
    sound: bool = False,
) -> Description:
    """The graph of one platform's table, from a kind of source to a kind of sink.

    Raises:
        UserError: the platform has no such source, mode or sink.
    """
    stages = [f"source.{source}", "frame", f"inference.{mode}", "overlay"]
    if sink != "screen":
        stages.append(f"encoder.{encoder}")
    stages.append(f"sink.{sink}")
    rows: list[Row] = []
    for stage in stages:
        if stage not in table:
            kind = stage.split(".")[0]
            known = sorted(s.split(".")[1] for s in table if s.startswith(f"{kind}."))
            raise UserError(
                f"platform {platform}: no {stage.replace('.', ' ')}: it has {', '.join(known)}"
            )
        for row in table[stage]:
            rows.append(row.filled(values, len(rows)))
    links = [_link(one, other, "video") for one, other in pairwise(rows)]
    names = tuple(row.name for row in rows[: len(table[f"source.{source}"])])
    if sound:
        branch = [row.filled(values, len(rows) + n) for n, row in enumerate(table["sound"])]
        muxer = next(row for row in rows if row.name == "muxer")
        path = [*branch, muxer] if branch[0].apart else [rows[0], *branch, muxer]
        links += [_link(one, other, "audio") for one, other in pairwise(path)]
        names += tuple(row.name for row in takewhile(lambda row: not row.head, branch))
        rows += branch
    return Description(
        platform=platform,
        elements=tuple(rows),
        links=tuple(links),
        probes=tuple(ProbePoint(row.name, *probe) for row in rows for probe in row.probes),
        sources=names,
        heads=tuple((row.name, row.sink_pad or "sink") for row in rows if row.head),
    )


def _link(one: Row, other: Row, media: str) -> Link:
    return Link(one.name, other.name, other.sink_pad, media if one.delayed else "")
