"""A graph as data: elements, properties, links and probes.

`assemble_description` makes the graph of every platform from the platform's table
(element_tables.py). The result can be built (pipeline_builder.py), checked against known
elements and properties, printed as a gst-launch line, and drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise, takewhile

from xpnet.errors import UserError

UNENCODED = ("screen", "drm", "none")
"""Kinds of sinks that show frames instead of encoding them."""


@dataclass(frozen=True)
class ElementSpec:
    """One element of a platform's table.

    Attributes:
        factory: GStreamer's factory name; may contain `{placeholders}`.
        name: Name in the pipeline; empty for factory and number.
        properties: Values by property; may contain `{placeholders}`.
        dynamic_pads: Whether its output pads are added when its streams are detected.
        sink_pad: The request pad to link to; empty for the static pad `sink`.
        probes: Pairs of a pad and the handler of the probe on it.
        accepts_eos: Whether an end of stream can be sent into it to end the stream behind it.
        starts_branch: Whether it starts a branch of its own instead of following the source.
    """

    factory: str
    name: str = ""
    properties: Mapping[str, str] = field(default_factory=dict)
    dynamic_pads: bool = False
    sink_pad: str = ""
    probes: tuple[tuple[str, str], ...] = ()
    accepts_eos: bool = False
    starts_branch: bool = False

    def with_values(self, values: Mapping[str, str], number: int) -> ElementSpec:
        """Return the row with placeholders replaced, and a name if it has none."""
        factory = self.factory.format_map(values)
        return replace(
            self,
            factory=factory,
            name=self.name or f"{factory}{number}",
            properties={k: v.format_map(values) for k, v in self.properties.items()},
        )


@dataclass(frozen=True)
class Link:
    """A link between two elements; `media` is `video` or `audio` for a pad that is added later."""

    source: str
    target: str
    target_pad: str = ""
    media: str = ""


@dataclass(frozen=True)
class ProbePoint:
    """A buffer probe: the pad of an element, and the method of Probes that it calls."""

    element: str
    pad: str
    handler: str


@dataclass(frozen=True)
class Description:
    """A whole graph.

    Attributes:
        platform: One of xpnet.platforms.GRAPHS.
        elements: In the order of the stream.
        links: Between elements.
        probes: Pad probes.
        source_elements: Names of the elements whose errors are errors of the input.
        eos_pads: Pads into which an end of stream can be sent.
    """

    platform: str
    elements: tuple[ElementSpec, ...]
    links: tuple[Link, ...]
    probes: tuple[ProbePoint, ...]
    source_elements: tuple[str, ...]
    eos_pads: tuple[tuple[str, str], ...]

    def element(self, name: str) -> ElementSpec:
        """Return the element of this name. Raises KeyError if there is none."""
        for row in self.elements:
            if row.name == name:
                return row
        raise KeyError(name)

    def upstream(self, name: str) -> set[str]:
        """Return the names of an element and of all elements before it."""
        found: set[str] = set()
        waiting = [name]
        while waiting:
            here = waiting.pop()
            if here not in found:
                found.add(here)
                waiting += [link.source for link in self.links if link.target == here]
        return found

    def as_launch(self) -> str:
        """Return the graph for gst-launch-1.0, without probes, to try elements on a target."""
        words = [
            " ".join([row.factory, f"name={row.name}", *(_word(k, v) for k, v in
                      row.properties.items() if v)])
            for row in self.elements
        ]  # fmt: skip
        ends = [f"{link.source}. ! {link.target}.{link.target_pad}" for link in self.links]
        return " ".join([*words, *ends])


def _word(key: str, value: str) -> str:
    return f'{key}="{value}"' if any(c in value for c in " ,(!") else f"{key}={value}"


Table = Mapping[str, tuple[ElementSpec, ...]]
"""Rows by stage: `source.KIND`, `frame`, `inference.MODE`, `overlay`, `encoder.KIND`,
`sink.KIND`; `shown` with a preview; `recorded` with a recorder; and those of branches,
`branch.NAME` from the element NAME, and `sound`."""


def assemble_description(
    platform: str,
    table: Table,
    source: str,
    sink: str,
    mode: str,
    encoder: str,
    values: Mapping[str, str],
    sound: bool = False,
    preview: bool = False,
    recorder: bool = False,
) -> Description:
    """Describe a graph from a kind of source to a kind of sink.

    Args:
        platform: Its name, for messages.
        table: The platform's rows by stage.
        source: Kind of source, such as `file`.
        sink: Kind of sink: `file`, `screen`, `drm` or `rtsp`.
        mode: `every`, `latest` or `none`.
        encoder: Kind of encoder, such as `software-live`.
        values: Values of the placeholders.
        sound: Whether to add the audio branch.
        preview: Whether to add the branch with the frames as they are shown.
        recorder: Whether to add the branch that encodes them for recording.

    Raises:
        UserError: The platform has no such source, mode or sink.
    """
    stages = [f"source.{source}", "frame", f"inference.{mode}", "overlay"]
    if preview:
        stages.append("shown")
    if recorder:
        stages.append("recorded")
    if sink not in UNENCODED:
        stages.append(f"encoder.{encoder}")
    stages.append(f"sink.{sink}")
    rows: list[ElementSpec] = []
    for stage in stages:
        if stage not in table:
            kind = stage.split(".")[0]
            known = sorted(s.split(".")[1] for s in table if s.startswith(f"{kind}."))
            raise UserError(
                f"platform {platform}: no {stage.replace('.', ' ')}: it has {', '.join(known)}"
            )
        for row in table[stage]:
            rows.append(row.with_values(values, len(rows)))
    links = [_link(one, other, "video") for one, other in pairwise(rows)]
    names = tuple(row.name for row in rows[: len(table[f"source.{source}"])])
    if sound:
        branch = [row.with_values(values, len(rows) + n) for n, row in enumerate(table["sound"])]
        muxer = next(row for row in rows if row.name == "muxer")
        path = [*branch, muxer] if branch[0].starts_branch else [rows[0], *branch, muxer]
        links += [_link(one, other, "audio") for one, other in pairwise(path)]
        names += tuple(row.name for row in takewhile(lambda row: not row.accepts_eos, branch))
        rows += branch
    _add_branches(table, values, rows, links)
    return Description(
        platform=platform,
        elements=tuple(rows),
        links=tuple(links),
        probes=tuple(ProbePoint(row.name, *probe) for row in rows for probe in row.probes),
        source_elements=names,
        eos_pads=tuple((row.name, row.sink_pad or "sink") for row in rows if row.accepts_eos),
    )


def _add_branches(
    table: Table, values: Mapping[str, str], rows: list[ElementSpec], links: list[Link]
) -> None:
    """Add the branch of every element that has one in the table."""
    for fork in [row for row in rows if f"branch.{row.name}" in table]:
        beside = table[f"branch.{fork.name}"]
        branch = [row.with_values(values, len(rows) + n) for n, row in enumerate(beside)]
        links += [_link(one, other, "video") for one, other in pairwise([fork, *branch])]
        rows += branch


def _link(one: ElementSpec, other: ElementSpec, media: str) -> Link:
    return Link(one.name, other.name, other.sink_pad, media if one.dynamic_pads else "")
