"""Pictures in a row as mp4 and GIF files, with a comment that says how they were made."""

import io
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from jaxtyping import UInt8
from PIL import Image

Picture = UInt8[np.ndarray, "height width 3"]

ENCODERS = ("libx264", "libopenh264", "mpeg4")  # the first two play in browsers
TICKS = 90_000  # of a video's clock, per second
PALETTE_SAMPLES = 8
PALETTE_REDUCTION = 3  # a ninth of the pixels has the same colors, and is nine times as fast
BT709 = 1  # the color matrix that players take for granted


def mp4_bytes(
    pictures: Iterable[Picture], times: Sequence[float], fps: float, *, comment: str
) -> bytes:
    """Return an H.264 video: every picture once, at its own time.

    Args:
        pictures: Equally large RGB pictures; odd sides are padded by a pixel, as H.264 needs.
        times: When each begins, in seconds; the first counts as 0.
        fps: How long the last one stays: 1 / fps seconds.
        comment: What the file says of itself; `read_comment` gives it back.
    """
    file = io.BytesIO()
    rate = Fraction(fps).limit_denominator(1001)
    encoder = next(name for name in ENCODERS if name in av.codecs_available)
    with av.open(file, "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        container.metadata["comment"] = comment
        stream = container.add_stream(encoder, rate=rate)
        assert isinstance(stream, av.VideoStream)
        stream.time_base = stream.codec_context.time_base = Fraction(1, TICKS)
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.color_range, context.colorspace = 1, BT709
        context.color_primaries = context.color_trc = BT709
        context.max_b_frames = 0  # so that packets come in order, each with its own duration
        context.options = {"crf": "14", "preset": "medium", "threads": "1"}
        ticks = [round((time - times[0]) * TICKS) for time in times]
        lasting = [*np.diff(ticks).tolist(), round(TICKS / fps)]
        packets = []
        for picture, at in zip(pictures, ticks, strict=True):
            if at == 0:
                stream.height, stream.width = (side + side % 2 for side in picture.shape[:2])
            padding = ((0, picture.shape[0] % 2), (0, picture.shape[1] % 2), (0, 0))
            frame = _frame(np.pad(picture, padding, mode="edge"))
            frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709")
            frame.pts, frame.time_base = at, Fraction(1, TICKS)
            packets += stream.encode(frame)
        packets += stream.encode()
        stays = dict(zip(ticks, lasting, strict=True))
        for packet in packets:
            packet.duration = stays[packet.pts or 0]
            container.mux(packet)
    return file.getvalue()


def _frame(picture: Picture) -> av.VideoFrame:
    """Return a picture as FFmpeg takes it, with what lies beyond the ends of its rows at 0.

    The conversion of colors reads a little of that, which would be what was in memory before.
    """
    height, width = picture.shape[:2]
    frame = av.VideoFrame(width, height, "rgb24")
    (plane,) = frame.planes
    rows = np.zeros((height, plane.line_size), np.uint8)
    rows[:, : 3 * width] = picture.reshape(height, 3 * width)
    plane.update(rows.tobytes())
    return frame


def gif_bytes(
    pictures: Iterable[Picture],
    times: Sequence[float],
    fps: float,
    *,
    comment: str,
    colors: UInt8[np.ndarray, "colors 3"],
) -> bytes:
    """Return a GIF that repeats: every picture once, to the hundredth of a second at its own time.

    All pictures have the same 256 colors, so that equal values keep equal colors. Times add up
    without drifting; shorter than 0.02 s is not shown by browsers, and not written.

    Args:
        pictures: Equally large RGB pictures.
        times: When each begins, in seconds.
        fps: How long the last one stays: 1 / fps seconds.
        comment: What the file says of itself; `read_comment` gives it back.
        colors: Of the color bar: these are kept as they are.
    """
    every = [Image.fromarray(picture) for picture in pictures]
    palette = _palette(every, colors)
    indexed = [one.quantize(palette=palette, dither=Image.Dither.NONE) for one in every]
    ends = [*(time - times[0] for time in times[1:]), times[-1] - times[0] + 1 / fps]
    hundredths = np.diff([0, *(round(100 * end) for end in ends)])
    file = io.BytesIO()
    indexed[0].save(
        file,
        "GIF",
        save_all=True,
        append_images=indexed[1:],
        duration=[10 * max(int(step), 2) for step in hundredths],
        loop=0,
        comment=comment.encode(),
        optimize=False,
    )
    return file.getvalue()


def read_comment(path: Path) -> str:
    """Return what an mp4 or GIF file says of itself, "" for nothing.

    Raises:
        FileNotFoundError: The path does not exist.
        ValueError: The file is damaged.
    """
    try:
        if path.suffix == ".gif":
            with Image.open(path, formats=["GIF"]) as image:
                found = image.info.get("comment", b"")
            return found.decode("utf-8", "replace") if isinstance(found, bytes) else str(found)
        with av.open(str(path)) as container:
            return container.metadata.get("comment", "")
    except FileNotFoundError:
        raise
    except (OSError, SyntaxError, ValueError) as error:  # PyAV's errors are of these, too
        raise ValueError(f"{path} is damaged or incomplete: {error}") from error


def _palette(every: Sequence[Image.Image], colors: UInt8[np.ndarray, "colors 3"]) -> Image.Image:
    """Return 256 colors: those given, and others that suit an even choice of pictures."""
    chosen = [
        every[round(index)]
        for index in np.linspace(0, len(every) - 1, min(PALETTE_SAMPLES, len(every)))
    ]
    chosen = [one.reduce(PALETTE_REDUCTION) for one in chosen]
    width, height = chosen[0].size
    together = Image.new("RGB", (width, height * len(chosen)))
    for number, picture in enumerate(chosen):
        together.paste(picture, (0, height * number))
    others = together.quantize(256 - len(colors), kmeans=1, dither=Image.Dither.NONE)
    found = list(others.getpalette() or [])[: 3 * (256 - len(colors))]
    palette = Image.new("P", (1, 1))
    palette.putpalette([*colors.ravel().tolist(), *found])
    return palette
