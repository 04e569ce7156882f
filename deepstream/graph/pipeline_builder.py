"""Builds a GStreamer pipeline from a description."""

from __future__ import annotations

from typing import Any

from deepstream.graph.description import Description, ElementSpec, Link
from deepstream.gstreamer import GLib, GObject, Gst
from xpnet.errors import UserError


def build(description: Description) -> Any:
    """Build the pipeline of a description; pads that are added later are linked when they appear.

    Args:
        description: Elements, properties and links.

    Returns:
        A Gst.Pipeline.

    Raises:
        UserError: An element or a property does not exist, a value is refused, or two elements
            cannot be linked.
    """
    pipeline = Gst.Pipeline.new("graph")
    for row in description.elements:
        pipeline.add(_make(row))
    later: dict[str, list[Link]] = {}
    for link in description.links:
        if link.media:
            later.setdefault(link.source, []).append(link)
        else:
            _link(pipeline, link)
    for name, links in later.items():
        DynamicPadLinker(pipeline, pipeline.get_by_name(name), links)
    return pipeline


def _make(row: ElementSpec) -> Any:
    element = Gst.ElementFactory.make(row.factory, row.name)
    if element is None:
        raise UserError(f"the graph cannot be built: GStreamer has no element {row.factory}")
    for key, value in row.properties.items():
        if element.find_property(key) is None:
            hint = ": unset USE_NEW_NVSTREAMMUX" if row.factory == "nvstreammux" else ""
            raise UserError(f"the graph cannot be built: {row.factory} has no '{key}'{hint}")
        if element.find_property(key).value_type == GObject.TYPE_STRING:
            element.set_property(key, value)  # unparsed: a file may be named "NULL"
        else:
            Gst.util_set_object_arg(element, key, value)
    return element


def _link(pipeline: Any, link: Link) -> None:
    one, other = pipeline.get_by_name(link.source), pipeline.get_by_name(link.target)
    if not one.link_pads(None, other, link.target_pad or None):
        raise UserError(f"the graph cannot be built: {link.source} does not link to {link.target}")


class DynamicPadLinker:
    """Links pads that an element adds when its streams are detected, and again after a restart.

    Only the first video and the first audio stream of a file are linked.
    """

    def __init__(self, pipeline: Any, element: Any, links: list[Link]) -> None:
        self.pipeline = pipeline
        self.links = {link.media: link for link in links}
        element.connect("pad-added", self._pad_added)
        if "audio" in self.links:
            element.connect("no-more-pads", self._no_more_pads)

    def _pad_added(self, element: Any, pad: Any) -> None:
        caps = pad.get_current_caps() or pad.query_caps(None)
        link = self.links.get(_media(pad, caps))
        if link is None:
            return
        sink = self._sink(link)
        if sink.is_linked():
            return
        linked = pad.link(sink)
        if linked != Gst.PadLinkReturn.OK:
            error = GLib.Error.new_literal(
                Gst.stream_error_quark(),
                f"cannot use {caps.to_string()[:100]} ({linked.value_nick})",
                Gst.StreamError.FORMAT,
            )
            element.post_message(Gst.Message.new_error(element, error, None))

    def _no_more_pads(self, _element: Any) -> None:
        """End the audio branch if no audio pad was added: the muxer would wait for it."""
        sink = self._sink(self.links["audio"])
        if not sink.is_linked():
            sink.send_event(Gst.Event.new_eos())

    def _sink(self, link: Link) -> Any:
        """Return the pad that a link leads to; request it if it does not exist."""
        target = self.pipeline.get_by_name(link.target)
        name = link.target_pad or "sink"
        return target.get_static_pad(name) or target.request_pad_simple(name)


def _media(pad: Any, caps: Any) -> str:
    """Return `video` or `audio`, for RTP and encoded streams, too."""
    if caps.get_size() == 0:  # ANY or not yet known: nvurisrcbin's pads are vsrc_0 and asrc_0
        return "video" if pad.get_name().startswith("v") else "audio"
    structure = caps.get_structure(0)
    if structure.get_name() == "application/x-rtp":
        return str(structure.get_string("media"))
    return str(structure.get_name().partition("/")[0])
