"""What goes into the graph: a file that GStreamer decodes, a folder of images, a live source."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2

from deepstream.gstreamer import GLib, Gst, GstPbutils
from deepstream.io.v4l2 import FORMS, choose_form
from xpnet.addresses import public
from xpnet.errors import UserError
from xpnet.frames import Frame
from xpnet.images import IMAGE_SUFFIXES, list_images, read_image

log = logging.getLogger("xpnet.graph")

DISCOVER_TIMEOUT_S = 15
LIVE = ("rtsp", *FORMS, "decklink")
FOLDER_FPS = 25.0
"""Of a folder of images, unless told."""
UPRIGHT = "rotate-0"
QUARTER_TURNS = ("rotate-90", "rotate-270", "flip-rotate-90", "flip-rotate-270")
"""Of GST_TAG_IMAGE_ORIENTATION, those that change width for height."""
LARGEST = 8192
"""Pixels a side; beyond it no H.264 level and no endoscope goes."""


@dataclass(frozen=True)
class Clip:
    """An input that was looked into: the size that it declares rules the whole output.

    `fps` is 0 where the container does not say; `seconds` likewise. `images` holds the files of
    a folder in order, and is empty for a video.
    """

    path: Path
    height: int
    width: int
    fps: float
    seconds: float
    has_audio: bool
    pixel_aspect_ratio: str = "1/1"
    images: tuple[Path, ...] = ()
    kind: str = "file"  # file, images, rtsp, v4l2, v4l2-jpeg, decklink
    uri: str = ""  # of a file or an RTSP stream
    audio_caps: str = ""  # of the first sound of a file, as it is stored
    device: str = ""  # the path of a V4L2 device, the number of an SDI card

    @property
    def live(self) -> bool:
        """Whether frames come when they come."""
        return self.kind in LIVE

    @property
    def stored_sound(self) -> str:
        """As what its sound is stored, such as `audio/mpeg`; empty where it has none."""
        return self.audio_caps.partition(",")[0]

    @property
    def where(self) -> str:
        """What to call it in a message: without the password of a camera."""
        if self.kind == "rtsp":
            return public(self.uri)
        return str(self.path)

    def redacted(self, text: str) -> str:
        """A text for the log, without that password."""
        return text.replace(self.uri, self.where) if self.kind == "rtsp" else text

    def turned(self) -> Clip:
        """The same after a quarter turn."""
        across, down = self.pixel_aspect_ratio.split("/")
        return replace(
            self, height=self.width, width=self.height, pixel_aspect_ratio=f"{down}/{across}"
        )

    def even(self) -> Clip:
        """The same with an even canvas, for encoders and converters that know no odd one."""
        return replace(self, height=self.height // 2 * 2, width=self.width // 2 * 2)

    @property
    def frames(self) -> int:
        """How many frames to expect; 0 where unknown."""
        return len(self.images) or round(self.seconds * self.fps)


def open_source(
    text: str | Path, fps: float | None, height: int, width: int, upright: bool = True
) -> Clip:
    """A file, a folder of images, `rtsp://...`, `/dev/video0` or `decklink:0`.

    `fps` is the rate at which a folder plays (None: FOLDER_FPS), and that a V4L2 device is asked
    for (None: its own); `height` and `width` the canvas of a live source, in pixels, and what a
    V4L2 device is asked for. `upright`: the graph turns a video as its file asks for.

    Raises:
        UserError: nothing there, nothing that can be decoded, or a rate that cannot be.
    """
    word = str(text)
    kind, _, number = word.partition(":")
    if re.fullmatch(r"/dev/video\d+", word):
        if not Path(word).is_char_device():
            raise UserError(f"{word}: no such device: expected one of /dev/video*")
        rate = _checked_rate(fps) if fps is not None else 0.0
        form = choose_form(word, height, width, rate)
        clip = Clip(Path(word), height, width, rate, 0, False, kind=form, device=word)
    elif kind == "rtsp":
        clip = Clip(Path(word), height, width, 0, 0, False, kind=kind, uri=word)
    elif kind == "decklink":
        if not number.isdecimal():
            raise UserError(f"{word}: expected decklink: and the number of the card, from 0")
        clip = Clip(Path(word), height, width, 0, 0, False, kind=kind, device=number)
    elif "://" in word:
        raise UserError(
            f"{public(word)}: expected a file, a folder, rtsp://..., /dev/videoN or decklink:N"
        )
    else:
        if fps is not None and Path(text).is_file():
            raise UserError(f"--fps {fps:g}: {text} plays at the rate that it was recorded at")
        return open_clip(Path(text), FOLDER_FPS if fps is None else fps, upright)
    _check_size(Path(clip.where), height, width)
    return clip


def open_clip(path: Path, fps: float, upright: bool = True) -> Clip:
    """Looks into `path`; `fps` is the rate of a folder of images, `upright` as in `open_source`.

    Raises:
        UserError: nothing there, empty, not decodable, or without video.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file or folder")
    if path.is_dir():
        return _open_folder(path, fps)
    if path.stat().st_size == 0:
        raise UserError(f"{path}: the file is empty (0 bytes), expected a video")
    return _open_video(path, upright)


def _open_folder(path: Path, fps: float) -> Clip:
    images = tuple(list_images(path))
    if not images:
        raise UserError(f"{path}: no images in this folder, expected {' '.join(IMAGE_SUFFIXES)}")
    _checked_rate(fps)
    height, width = _first_readable(path, images).shape[:2]
    _check_size(path, height, width)
    return Clip(path, height, width, fps, len(images) / fps, False, images=images, kind="images")


def _checked_rate(fps: float) -> float:
    if not 0 < fps <= 240:
        raise UserError(f"{fps:g} frames a second: expected more than 0 and at most 240")
    return fps


def _first_readable(path: Path, images: tuple[Path, ...]) -> Frame:
    """The picture that rules the size; an unreadable one before it is left out later."""
    for image in images:
        try:
            return read_image(image)
        except UserError:
            continue
    raise UserError(f"{path}: none of its {len(images)} images can be decoded")


def _open_video(path: Path, upright: bool) -> Clip:
    discoverer = GstPbutils.Discoverer.new(DISCOVER_TIMEOUT_S * Gst.SECOND)
    try:
        info = discoverer.discover_uri(path.absolute().as_uri())
    except GLib.Error as error:
        raise UserError(f"{path}: not a video that GStreamer decodes: {error.message}") from error
    if info.get_result() != GstPbutils.DiscovererResult.OK:
        missing = ", ".join(info.get_missing_elements_installer_details())
        reason = f"a decoder is missing: {missing}" if missing else info.get_result().value_nick
        raise UserError(f"{path}: not a video that GStreamer decodes: {reason}")
    videos = [v for v in info.get_video_streams() if not v.is_image()]
    if not videos:
        found = "a still image" if info.get_video_streams() else "no picture at all"
        raise UserError(f"{path}: holds {found}, expected a video (or a folder of images)")
    video = videos[0]
    height, width = video.get_height(), video.get_width()
    _check_size(path, height, width)
    denominator = video.get_framerate_denom()
    sounds = info.get_audio_streams()
    clip = Clip(
        path=path,
        height=height,
        width=width,
        fps=video.get_framerate_num() / denominator if denominator else 0.0,
        seconds=max(0, info.get_duration()) / Gst.SECOND,
        has_audio=bool(sounds),
        audio_caps=sounds[0].get_caps().to_string() if sounds else "",
        pixel_aspect_ratio=f"{video.get_par_num()}/{video.get_par_denom()}",
        uri=path.absolute().as_uri(),
    )
    orientation = _orientation(video)
    if not upright and orientation != UPRIGHT:
        log.warning("%s: asks to be shown %s, is shown as stored", path, orientation)
    return clip.turned() if upright and orientation in QUARTER_TURNS else clip


def _orientation(video: Any) -> str:
    """GST_TAG_IMAGE_ORIENTATION of a stream, as a phone or an editor writes it."""
    tags = video.get_tags()
    found = tags.get_string(Gst.TAG_IMAGE_ORIENTATION).value if tags is not None else None
    return str(found or UPRIGHT)


def _check_size(path: Path, height: int, width: int) -> None:
    if not (16 <= height <= LARGEST and 16 <= width <= LARGEST):
        raise UserError(f"{path}: frames of {width} x {height}, expected 16 to {LARGEST} a side")


class ImageFeeder:
    """Pushes the images of a folder into an appsrc, one each time it asks for data.

    An image that cannot be read is left out, with a warning: the clip goes on.
    """

    def __init__(self, clip: Clip, appsrc: Any) -> None:
        self._images = iter(enumerate(clip.images))
        self._duration = round(Gst.SECOND / clip.fps)
        self._fps = Fraction(clip.fps).limit_denominator(1001)
        appsrc.set_property("format", Gst.Format.TIME)
        appsrc.set_property("max-bytes", 0)
        appsrc.connect("need-data", self._push)

    def _push(self, appsrc: Any, _length: int) -> None:
        for number, path in self._images:
            try:
                image = read_image(path)
            except UserError as error:
                log.warning("%s: left out", error)
                continue
            appsrc.emit("push-sample", self._sample(number, image))
            return
        appsrc.emit("end-of-stream")

    def _sample(self, number: int, image: Frame) -> Any:
        height, width = image.shape[:2]
        buffer = Gst.Buffer.new_wrapped(cv2.cvtColor(image, cv2.COLOR_RGB2RGBA).tobytes())
        buffer.pts = buffer.dts = number * self._duration
        buffer.duration = self._duration
        caps = Gst.Caps.from_string(
            f"video/x-raw,format=RGBA,width={width},height={height},"
            f"framerate={self._fps.numerator}/{self._fps.denominator},pixel-aspect-ratio=1/1"
        )
        return Gst.Sample.new(buffer, caps, None, None)
