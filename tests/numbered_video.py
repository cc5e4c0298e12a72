"""Videos whose frames carry their own number as ten bright or dark bars."""

from fractions import Fraction

import av
import numpy as np

BARS = 10


def numbered(number, height=64):
    bars = np.repeat([235 if number >> bit & 1 else 20 for bit in range(BARS)], 16)
    return np.broadcast_to(bars.astype(np.uint8)[None, :, None], (height, 160, 3)).copy()


def number_of(frame):
    row = frame[frame.shape[0] // 2]
    return sum(int(row[bit * 16 + 8].mean() > 128) << bit for bit in range(BARS))


def write_numbered(path, ticks, codec="libx264", *, rate=25, options=None, muxer=None, **more):
    """Write a frame for every tick, in 1/1000 s; or at 1/25 s each if ticks is a number."""
    base = Fraction(1, 1000)
    if isinstance(ticks, int):
        ticks, base = list(range(ticks)), Fraction(1, 25)
    with av.open(str(path), "w", options=muxer or {}, **more) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height = 160, 64
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.time_base = base
        stream.codec_context.options = options or {}
        for number, tick in enumerate(ticks):
            frame = av.VideoFrame.from_ndarray(numbered(number), format="rgb24")
            frame.pts, frame.time_base = tick, base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
