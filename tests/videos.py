"""Small videos to test with: frame i is gray of level `level(i)`, so that it can be recognized."""

import struct
from fractions import Fraction

import av
import numpy as np

CODECS = {"mp4": "libx264", "mov": "libx264", "mkv": "libx264", "webm": "libvpx", "avi": "mpeg4"}


def level(index):
    return 20 + 7 * index % 210


def gray_frame(index, height=48, width=64):
    """Return a gray frame with a white left top corner, by which a turn can be seen."""
    frame = np.full((height, width, 3), level(index), np.uint8)
    frame[: height // 4, : width // 4] = 255
    return frame


def index_of(frame):
    """Return the index of the frame that a decoded one is nearest to, by its right lower part."""
    height, width = frame.shape[:2]
    seen = frame[height // 2 :, width // 2 :].mean()
    return int(np.argmin([abs(level(i) - seen) for i in range(30)]))


def write_video(path, frames=12, fps=10, height=48, width=64, ticks=None, options=None):
    """Write a video; `ticks` are times of the frames in 1/1000 s, evenly spaced if not given."""
    codec = CODECS[path.suffix[1:]]
    odd = height % 2 or width % 2
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream(codec, rate=fps)
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuv444p" if odd else "yuv420p"
        if ticks is not None:
            stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(gray_frame(index, height, width), format="rgb24")
            if ticks is not None:
                frame.pts, frame.time_base = ticks[index], Fraction(1, 1000)
            else:
                frame.pts, frame.time_base = index, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_sound(path):
    """Write a file with a sound and no picture."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        samples = np.zeros((1, 1024), np.float32)
        for index in range(8):
            frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 8000, 1024 * index
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def turn(path):
    """Say in an mp4's track header that the picture is to be turned by 90 degrees clockwise."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4
    matrix = at + (52 if data[at] == 1 else 40)
    one = 0x10000
    data[matrix : matrix + 36] = struct.pack(">9i", 0, one, 0, -one, 0, 0, 0, 0, 0x40000000)
    path.write_bytes(data)
    return path
