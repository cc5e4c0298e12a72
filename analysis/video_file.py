"""Videos, decoded by PyAV: every frame by its own time stamp."""

import re
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import av
import numpy as np
from av.error import FFmpegError
from av.sidedata.sidedata import SideDataContainer
from av.sidedata.sidedata import Type as SideData
from av.stream import Disposition
from jaxtyping import UInt8

from nonlocal_lens.analysis.clip_sources import Frame
from nonlocal_lens.analysis.images import check_size
from nonlocal_lens.models.file_hash import file_sha256
from nonlocal_lens.models.limits import error_words, shortened

SEEK_BEYOND = 96
"""Gaps of more frames than this are jumped over; smaller ones are decoded and dropped."""

LONGEST_COUNT = 2_000_000
"""A video is followed for at most so many frames: 18 hours at 30 a second."""

USUAL_FPS = 25.0
"""Where a file says neither when its frames are shown nor how many there are in a second."""

CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpegtsraw,mpeg,mpegvideo,m4v,flv,live_flv,"
    "ogg,asf,asf_o,mxf,mxf_opatom,nut,rm,wtv,dv,h264,hevc,vvc,obu,av1,ivf,vc1,vc1test,yuv4mpegpipe,"
    "mjpeg,swf,gxf,h261,h263,cavsvideo,dirac"
)
"""What may be opened: none of these is a list of other files."""

PROVEN = 16
"""How many frames at the beginning must be shown just when the file's packets say."""

BACK = (0.0, 2.0, 10.0, 40.0)
"""By how many seconds before a frame it is tried to begin decoding, if 0 does not reach it."""

STAMPED = ("mov", "matroska", "avi", "flv", "asf", "ivf", "nut", "mxf")
"""Containers in which every packet has its own time stamp.

In others some have none, and after a jump a frame may get that of its neighbor: there all is
decoded.
"""

ANNOUNCING = ("mov", "matroska", "avi")
"""Containers that announce how long the picture lasts; of others FFmpeg tells what it found."""

INTERLACED = ("tt", "bb", "tb", "bt", "top", "bottom")


class Decoded(NamedTuple):
    """A frame, and when it is shown on the file's own clock."""

    frame: Any
    pts: int | None


class _Onward:
    """A file that is read from its beginning to its end only."""

    def __init__(self, file: BinaryIO) -> None:
        self.read = file.read


def _opened(file: Any) -> Any:
    return av.open(
        file,
        options={"format_whitelist": CONTAINERS, "protocol_whitelist": "none"},
        metadata_errors="replace",
    )


class VideoFile:
    """A video that PyAV decodes, upright, its frames in the order in which they are shown.

    Frames are counted as the decoder shows them. One that lies far ahead is sought by its time
    stamp: the packets of a file say when its frames are shown, and what is found is the frame that
    is sought only if all frames from one that needs no other up to it are shown just then. Where
    packets and frames disagree, all is decoded.

    Times are seconds from the first frame.
    """

    def __init__(self, path: Path, name: str, opened: ExitStack) -> None:
        self.name, self._path = name, path
        self.count: int | None = None
        self.reached = 0
        self._file: Any = None
        self._raw: Any = None
        self._shown: list[int | None] | None = None  # when all frames are shown, once it is known
        self._end = 0  # when the last frame that was seen ends, on the file's clock
        self._whole = False  # whether that is the last one
        self._damaged = 0  # packets and frames
        self._notes: list[str] = []
        opened.callback(self._close)
        self._open()
        rate = self._stream.average_rate or self._stream.guessed_rate or 0
        self.fps = float(rate) if 0 < rate <= 1000 else USUAL_FPS
        self._base = self._stream.time_base or Fraction(1, 1000)
        first = next(self._frames, None)
        if first is None:
            raise self._no_video()
        self._begin = first.pts
        self._in_order: list[int] | None = None
        self._clock, self._last_time = 0.0, 0.0
        self._take(0, first)
        self._in_order = self._times_in_order()

    @property
    def note(self) -> str:
        """What the user should know, a sentence; empty for nothing."""
        notes = list(self._notes)
        if self._damaged:
            notes.append(f"{self._damaged} parts of {self.name} are damaged and left out")
        announced = self._announced()
        if self._whole and announced and self._begin is not None:
            lasts = float((self._end - self._begin) * self._base)
            spacing = max(1 / self.fps, lasts / max(self.reached, len(self._shown or ()), 1))
            if announced - lasts > 1.5 * spacing:
                notes.append(
                    f"{self.name} ends after {lasts:.2f} of the {announced:.2f} seconds that it "
                    "announces: it is cut off or damaged"
                )
        return shortened("; ".join(notes))

    def frame(self, index: int) -> Frame | None:
        """Return a frame; None beyond the last."""
        if index - self._at > SEEK_BEYOND:
            self._seek(index)
        while self._at < index:
            found = next(self._frames, None)
            if found is None:
                self._whole = True
                return None
            self._take(self._at + 1, found)
        return Frame(self._pixels(), self._last_time)

    def counted(self) -> int:
        """Return how many frames there are."""
        if self.count is None:
            self.count = len(self._times())
        return self.count

    def sha256(self) -> str:
        """Return the hash of the file."""
        return file_sha256(self._path)

    def again(self) -> "VideoFile":
        """Return it from its beginning, with the frames that could be decoded."""
        self.count = self.reached
        self._restart()
        return self

    # ------------------------------------------------------------ frame after frame

    def _open(self) -> None:
        self._close()
        try:
            # an open file, as a name could be an address or a pattern to FFmpeg
            self._raw = self._path.open("rb")
            try:
                self._file = _opened(self._raw)
            except (EOFError, av.error.InvalidDataError) as error:
                # what is cut off within a part, or before one that it announces, is read as far as
                # it goes
                self._raw.seek(0)
                self._file = _opened(_Onward(self._raw))
                is_short = isinstance(error, EOFError)
                self._say(f"{self.name} is {'' if is_short else 'damaged or '}cut off")
        except Exception as error:  # of a damaged header, what went wrong in it
            self._close()
            raise self._no_video() from error
        videos = [
            stream
            for stream in self._file.streams.video
            if stream.codec_context is not None
            and not stream.disposition & Disposition.attached_pic
        ]
        if not videos:
            self._close()
            raise self._no_video()
        self._stream = videos[0]
        self._container = self._file.format.name.split(",")[0]
        context = self._stream.codec_context
        if context.width and context.height:
            check_size(context.width, context.height)
        context.thread_type = "AUTO"
        self._frames = self._decoded()
        self._at = -1  # the frame that was taken last

    def _close(self) -> None:
        for opened in (self._file, self._raw):
            if opened is not None:
                opened.close()
        self._file = self._raw = None

    def _restart(self) -> None:
        self._open()
        self._clock, self._last_time = 0.0, 0.0

    def _no_video(self) -> ValueError:
        return ValueError(
            f"{self.name} is not a video that can be decoded: it is no mp4, avi, mov, webm, mkv, "
            "ts, 3gp or GIF, has no picture (only sound), is a list of other files, or is cut off"
        )

    def _packets(self) -> Iterator[Any]:
        """Yield the packets of the picture from where the file stands."""
        packets = self._file.demux(self._stream)
        for _ in range(LONGEST_COUNT):
            try:
                packet = next(packets, None)
            except FFmpegError:
                self._damaged += 1
                return
            if packet is None:
                return
            if packet.size:
                yield packet

    def _decoded(self) -> Iterator[Decoded]:
        """Yield the frames from where the file stands; what is damaged is left out and counted."""
        context = self._stream.codec_context
        for packet in chain(self._packets(), [None]):
            try:
                frames = context.decode(packet)
            except FFmpegError:
                self._damaged += 1
                continue
            for frame in frames:
                if frame.pts is not None:
                    self._end = max(self._end, frame.pts + (frame.duration or 0))
                yield Decoded(frame, frame.pts)

    def _take(self, index: int, found: Decoded) -> None:
        self._at, self._now = index, found.frame
        self.reached = max(self.reached, index + 1)
        if index == 0:
            self._last_time = 0.0
        elif self._in_order is not None and index < len(self._in_order):
            self._last_time = float((self._in_order[index] - self._in_order[0]) * self._base)
        elif found.pts is None or self._begin is None:
            self._say(f"{self.name} does not say when its frames are shown: they are evenly spaced")
            self._last_time = index / self.fps
        else:
            time = float((found.pts - self._begin) * self._base) + self._clock
            if time < self._last_time:  # the file's clock began anew
                self._say(f"the clock of {self.name} runs backwards at frame {index}: it is set on")
                self._clock += self._last_time + 1 / self.fps - time
                time = self._last_time + 1 / self.fps
            self._last_time = time

    def _times_in_order(self) -> list[int] | None:
        """Return when the frames of an AVI are shown whose order differs from that of its packets.

        These have the time stamps of decoding only; the frames are shown at the same times.
        """
        if self._container != "avi" or not self._stream.codec_context.has_b_frames:
            return None
        first = self._now
        self._open()
        stamps = sorted(packet.dts for packet in self._packets() if packet.dts is not None)
        self._restart()
        next(self._frames, None)
        self._at, self._now = 0, first
        return stamps

    def _say(self, note: str) -> None:
        if note not in self._notes and len(self._notes) < 3:
            self._notes.append(note)

    # ------------------------------------------------------------ far ahead

    def _seek(self, index: int) -> None:
        """Go to a frame if it can be proved that it is that one, else to the beginning."""
        known = self._times()
        if index >= len(known):
            return
        shown = [pts for pts in known if pts is not None]
        ordered = len(shown) == len(known) and all(one < other for one, other in pairwise(shown))
        if ordered and self._container in STAMPED:
            for back in BACK:
                where = shown[index] - int(back / self._base)
                if where <= shown[0]:
                    break
                if self._found(shown, index, where):
                    return
        self._restart()

    def _found(self, shown: list[int], index: int, where: int) -> bool:
        """Seek a time stamp and decode up to a frame; return whether it is certainly that one."""
        try:
            self._file.seek(where, stream=self._stream, backward=True)
        except FFmpegError:
            return False
        self._stream.codec_context.flush_buffers()
        self._frames = self._decoded()
        at: int | None = None
        for found in self._frames:
            if found.pts is None:
                return False
            if at is None:
                if not found.frame.key_frame or found.frame.is_corrupt:
                    continue  # it lacks what it is made of
                at = bisect_left(shown, found.pts)
            if not at <= index or shown[at] != found.pts:
                return False
            if at == index:
                self._take(index, found)
                return True
            at += 1
        return False

    def _times(self) -> list[int | None]:
        """Return when every frame is shown: as the packets say, if the frames agree."""
        if self._shown is None:
            at, time, clock, now = self._at, self._last_time, self._clock, self._now
            damaged = self._damaged
            self._shown = self._times_of_packets()
            if self._shown is None:
                self._damaged = damaged
                self._open()
                self._shown = [found.pts for found in self._frames]
            self._whole = True
            self._open()
            if at >= 0:  # back to where it stood
                self._damaged = damaged
                for _ in range(at + 1):
                    next(self._frames, None)
                self._at, self._last_time, self._clock, self._now = at, time, clock, now
        return self._shown

    def _times_of_packets(self) -> list[int | None] | None:
        """Return the time stamps of all packets; None where they do not tell those of frames."""
        self._open()
        context = self._stream.codec_context
        # packets of these may hold no frame that is shown, or half of one
        if self._begin is None or context.name.endswith("vp8"):
            return None
        if str(context.field_order).lower() in INTERLACED:
            return None
        stamps: list[int] = []
        last = None
        for packet in self._packets():
            backwards = None not in (last, packet.dts) and packet.dts < last
            if packet.pts is None or packet.is_corrupt or backwards:
                return None
            last = packet.dts
            if not packet.is_discard and packet.pts >= self._begin:
                stamps.append(packet.pts)
                self._end = max(self._end, packet.pts + (packet.duration or 0))
        if len(set(stamps)) < len(stamps):
            return None
        stamps.sort()
        self._open()
        for number, found in enumerate(islice(self._frames, PROVEN)):
            if number >= len(stamps) or found.pts != stamps[number]:
                return None
        return [*stamps]

    # ------------------------------------------------------------ what a frame looks like

    def _pixels(self) -> UInt8[np.ndarray, "height width 3"]:
        frame = self._now
        check_size(frame.width, frame.height)
        try:
            image: np.ndarray = frame.to_ndarray(format="rgb24")
        except (FFmpegError, ValueError) as error:
            raise ValueError(
                f"the pixels of {self.name} cannot be read: {error_words(error)}"
            ) from error
        if frame.is_corrupt:
            self._say(f"frames of {self.name} are damaged")
        # not `frame.side_data`, which keeps the frame as the frame keeps it: megabytes until later
        held = SideDataContainer(frame).get(SideData.DISPLAYMATRIX)  # type: ignore[call-arg]
        if held is None or len(bytes(held)) < 36:
            return image
        a, b, _, c, d, *_ = np.frombuffer(bytes(held), "<i4", 9) / 65536
        across, along = abs(a) + abs(d), abs(b) + abs(c)
        if along > across:
            image, a, d = image.transpose(1, 0, 2), c, b
        if min(across, along) > 0.01 * max(across, along):
            self._say(f"{self.name} is to be turned by an odd angle: it is shown as it is stored")
            return np.ascontiguousarray(image) if along <= across else frame.to_ndarray("rgb24")
        image = image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
        return np.ascontiguousarray(image)

    def _announced(self) -> float:
        """Return how many seconds the file says that its picture lasts; 0 if it does not say."""
        if self._file is None or self._container not in ANNOUNCING:
            return 0.0
        stream = self._stream
        if self._container == "avi":
            return float(stream.frames / self.fps)
        whole = (self._file.duration or 0) / 1e6
        if stream.duration:  # what an edit cut away is still counted in it
            lasts = float(stream.duration * self._base)
            return min(lasts, whole) if whole else lasts
        told = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", stream.metadata.get("DURATION", ""))
        if told:
            begin = float((self._begin or 0) * self._base)  # Matroska's ends on the file's clock
            return int(told[1]) * 3600 + int(told[2]) * 60 + float(told[3]) - begin
        return whole if len(self._file.streams) == 1 else 0.0
