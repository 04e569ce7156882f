"""Sources of the graph: a video file, a folder of images, RTSP, V4L2 and SDI."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2

from deepstream.gstreamer import GLib, Gst, GstPbutils
from deepstream.io.colour_tags import FileColours, read_colours
from deepstream.io.v4l2 import MEDIA_TYPES, choose_format
from xpnet.addresses import without_credentials
from xpnet.errors import UserError
from xpnet.frames import Frame
from xpnet.images import IMAGE_SUFFIXES, list_images, read_image

log = logging.getLogger("xpnet.graph")

DISCOVER_TIMEOUT_S = 15
LIVE_FILE, TEST_PATTERN = "live-file", "testpattern"
LIVE_KINDS = ("rtsp", *MEDIA_TYPES, "decklink", LIVE_FILE, TEST_PATTERN)
TEST_FPS = 25.0
LIVE_SIZE = (1080, 1920)
"""Default height and width of a live source's frames, in pixels."""
FOLDER_FPS = 25.0
"""Default frame rate of a folder of images."""
UPRIGHT = "rotate-0"
QUARTER_TURNS = ("rotate-90", "rotate-270", "flip-rotate-90", "flip-rotate-270")
"""Values of GST_TAG_IMAGE_ORIENTATION that swap width and height."""
MAX_SIDE = 8192
"""Largest height and width in pixels: no H.264 level and no endoscope exceeds it."""


@dataclass(frozen=True)
class VideoSource:
    """An opened source: a file, a folder of images or a live source.

    Attributes:
        path: The file, folder or device.
        height: Height of the output's frames, in pixels.
        width: Width of the output's frames, in pixels.
        fps: Frames per second; 0 if unknown.
        seconds: Duration; 0 if unknown.
        has_audio: Whether a file contains audio.
        pixel_aspect_ratio: Width to height of a pixel, as "1/1".
        images: The files of a folder, in order; empty for a video.
        kind: file, images, rtsp, v4l2, v4l2-jpeg, decklink, live-file or testpattern.
        uri: The URI of a file or an RTSP stream.
        audio_caps: Caps of a file's first audio stream, as it is stored.
        device: The path of a V4L2 device, or the number of an SDI card.
        colours: What a file states about its colours.
        rotates: Whether the graph shall rotate or flip a file's frames, as its metadata says.
    """

    path: Path
    height: int
    width: int
    fps: float
    seconds: float
    has_audio: bool
    pixel_aspect_ratio: str = "1/1"
    images: tuple[Path, ...] = ()
    kind: str = "file"
    uri: str = ""
    audio_caps: str = ""
    device: str = ""
    colours: FileColours = field(default_factory=FileColours)
    rotates: bool = False

    @property
    def is_live(self) -> bool:
        """Whether the source delivers frames in real time."""
        return self.kind in LIVE_KINDS

    @property
    def audio_format(self) -> str:
        """The media type of the audio, such as `audio/mpeg`; empty without audio."""
        return self.audio_caps.partition(",")[0]

    @property
    def display_name(self) -> str:
        """Its name in messages, without the credentials of a camera."""
        if self.kind == "rtsp":
            return without_credentials(self.uri)
        return str(self.path)

    def without_credentials(self, text: str) -> str:
        """Return a text for the log with the camera's address shortened."""
        return text.replace(self.uri, self.display_name) if self.kind == "rtsp" else text

    def rotated(self) -> VideoSource:
        """Return the source after a quarter turn."""
        across, down = self.pixel_aspect_ratio.split("/")
        return replace(
            self, height=self.width, width=self.height, pixel_aspect_ratio=f"{down}/{across}"
        )

    def with_even_size(self) -> VideoSource:
        """Return the source with an even height and width."""
        return replace(self, height=self.height // 2 * 2, width=self.width // 2 * 2)

    @property
    def frames(self) -> int:
        """The expected number of frames; 0 if unknown."""
        return len(self.images) or round(self.seconds * self.fps)


def open_source(
    text: str | Path, fps: float | None, height: int | None, width: int | None, rotate: bool = True
) -> VideoSource:
    """Open a file, a folder of images, or a live source.

    Live sources are `rtsp://...`, `/dev/video0`, `decklink:0`, `live:FILE` (a file that is played
    again and again as if it were live) and `testpattern`.

    Args:
        text: What to open.
        fps: Frame rate of a folder (None: FOLDER_FPS), or to request from a V4L2 device (None:
            its own).
        height: Height of a live source's frames, in pixels; None for LIVE_SIZE, or for that of a
            file that is played as if live.
        width: Width of them.
        rotate: Whether the graph rotates a video as its metadata says.

    Raises:
        UserError: The source is missing, cannot be decoded, or the frame rate is not possible.
    """
    word = str(text)
    kind, _, number = word.partition(":")
    if kind == "live":
        return _open_as_live(Path(word.partition(":")[2]), height, width)
    height = LIVE_SIZE[0] if height is None else height
    width = LIVE_SIZE[1] if width is None else width
    if re.fullmatch(r"/dev/video\d+", word):
        if not Path(word).is_char_device():
            raise UserError(f"{word}: no such device: expected one of /dev/video*")
        rate = _checked_rate(fps) if fps is not None else 0.0
        form = choose_format(word, height, width, rate)
        source = VideoSource(Path(word), height, width, rate, 0, False, kind=form, device=word)
    elif kind == "rtsp":
        source = VideoSource(Path(word), height, width, 0, 0, False, kind=kind, uri=word)
    elif kind == "decklink":
        if not number.isdecimal():
            raise UserError(f"{word}: expected decklink: and the number of the card, from 0")
        source = VideoSource(Path(word), height, width, 0, 0, False, kind=kind, device=number)
    elif word == TEST_PATTERN:
        rate = TEST_FPS if fps is None else _checked_rate(fps)
        source = VideoSource(Path(word), height, width, rate, 0, False, kind=TEST_PATTERN)
    elif "://" in word:
        raise UserError(
            f"{without_credentials(word)}: expected a file, a folder, rtsp://..., /dev/videoN, "
            "decklink:N, live:FILE or testpattern"
        )
    else:
        if fps is not None and Path(text).is_file():
            raise UserError(f"--fps {fps:g}: {text} plays at the rate that it was recorded at")
        return open_clip(Path(text), FOLDER_FPS if fps is None else fps, rotate)
    _check_size(Path(source.display_name), height, width)
    return source


def _open_as_live(path: Path, height: int | None, width: int | None) -> VideoSource:
    """Open a file that is played at its own rate, again and again."""
    clip = open_clip(path, FOLDER_FPS, rotate=False)
    if clip.images:
        raise UserError(f"live:{path}: is a folder, expected a video file")
    source = replace(
        clip,
        kind=LIVE_FILE,
        seconds=0,
        has_audio=False,
        audio_caps="",
        height=clip.height if height is None else height,
        width=clip.width if width is None else width,
    )
    _check_size(path, source.height, source.width)
    return source


def open_clip(path: Path, fps: float, rotate: bool = True) -> VideoSource:
    """Open a video file or a folder of images.

    Args:
        path: The file or folder.
        fps: Frame rate of a folder of images.
        rotate: As in `open_source`.

    Raises:
        UserError: It is missing, empty, cannot be decoded, or has no video.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file or folder")
    if path.is_dir():
        return _open_folder(path, fps)
    if path.stat().st_size == 0:
        raise UserError(f"{path}: the file is empty (0 bytes), expected a video")
    return _open_video(path, rotate)


def _open_folder(path: Path, fps: float) -> VideoSource:
    images = tuple(list_images(path))
    if not images:
        raise UserError(f"{path}: no images in this folder, expected {' '.join(IMAGE_SUFFIXES)}")
    _checked_rate(fps)
    height, width = _first_readable(path, images).shape[:2]
    _check_size(path, height, width)
    return VideoSource(
        path, height, width, fps, len(images) / fps, False, images=images, kind="images"
    )


def _checked_rate(fps: float) -> float:
    if not 0 < fps <= 240:
        raise UserError(f"{fps:g} fps: expected more than 0 and at most 240")
    return fps


def _first_readable(path: Path, images: tuple[Path, ...]) -> Frame:
    """Return the first image that can be decoded; it sets the size."""
    for image in images:
        try:
            return read_image(image)
        except UserError:
            continue
    raise UserError(f"{path}: none of its {len(images)} images can be decoded")


def _open_video(path: Path, rotate: bool) -> VideoSource:
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
        found = "a still image" if info.get_video_streams() else "no video"
        raise UserError(f"{path}: contains {found}, expected a video (or a folder of images)")
    video = videos[0]
    height, width = video.get_height(), video.get_width()
    _check_size(path, height, width)
    denominator = video.get_framerate_denom()
    sounds = info.get_audio_streams()
    source = VideoSource(
        path=path,
        height=height,
        width=width,
        fps=video.get_framerate_num() / denominator if denominator else 0.0,
        seconds=max(0, info.get_duration()) / Gst.SECOND,
        has_audio=bool(sounds),
        audio_caps=sounds[0].get_caps().to_string() if sounds else "",
        pixel_aspect_ratio=f"{video.get_par_num()}/{video.get_par_denom()}",
        uri=path.absolute().as_uri(),
        colours=read_colours(path.absolute().as_uri()),
    )
    orientation = _orientation(video)
    if orientation == UPRIGHT:
        return source
    if not rotate:
        log.warning("%s: its metadata asks for %s; shown as stored", path, orientation)
        return source
    source = replace(source, rotates=True)
    return source.rotated() if orientation in QUARTER_TURNS else source


def _orientation(video: Any) -> str:
    """Return GST_TAG_IMAGE_ORIENTATION of a stream."""
    tags = video.get_tags()
    found = tags.get_string(Gst.TAG_IMAGE_ORIENTATION).value if tags is not None else None
    return str(found or UPRIGHT)


def _check_size(path: Path, height: int, width: int) -> None:
    if not (16 <= height <= MAX_SIDE and 16 <= width <= MAX_SIDE):
        raise UserError(f"{path}: frames of {width} x {height}, expected 16 to {MAX_SIDE} a side")


class ImageFeeder:
    """Pushes the images of a folder into an appsrc, one for each request.

    An image that cannot be read is skipped with a warning.
    """

    def __init__(self, source: VideoSource, appsrc: Any) -> None:
        self._images = iter(enumerate(source.images))
        self._duration = round(Gst.SECOND / source.fps)
        self._fps = Fraction(source.fps).limit_denominator(1001)
        appsrc.set_property("format", Gst.Format.TIME)
        appsrc.set_property("max-bytes", 0)
        appsrc.connect("need-data", self._push)

    def _push(self, appsrc: Any, _length: int) -> None:
        for number, path in self._images:
            try:
                image = read_image(path)
            except UserError as error:
                log.warning("%s: skipped", error)
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
