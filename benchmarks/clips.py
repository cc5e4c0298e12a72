"""Frames of a long video: by jumping to them, and by decoding all that lies between.

`python -m benchmarks.clips` makes a video of ten minutes, 1920 x 1080, 30 frames a second, and
prints the time for 32 frames of it either way, and the greatest memory that a process held.
"""

import argparse
import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

FPS = 30
ROOT = Path(__file__).parents[1]
SIZE = 1080, 1920

CHILD = """
import sys, time
from nonlocal_lens.analysis import video_file
from nonlocal_lens.analysis.clips import read_clip
from tests.peak_memory import peak_megabytes
way, path = sys.argv[1:]
if way == "decoding":
    video_file.SEEK_BEYOND = 10**9
started = time.process_time()
clip = read_clip(path, frames=32)
print(len(clip), time.process_time() - started, peak_megabytes())
"""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="length of the video")
    minutes = parser.parse_args().minutes
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.mp4"
        write_long_video(path, round(60 * minutes))
        print(f"{minutes:g} minutes of 1920 x 1080, {path.stat().st_size / 1e6:.0f} MB: 32 frames")
        for way in ("jumping", "decoding"):
            command = [sys.executable, "-c", CHILD, way, str(path)]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
            count, seconds, megabytes = done.stdout.split()
            print(
                f"{way:<10} {float(seconds):7.1f} s of CPU, peak {float(megabytes) / 1e3:.2f} GB, "
                f"{count} frames"
            )


def write_long_video(path: Path, seconds: int) -> None:
    """Write a video: a second of moving blobs, encoded once and repeated."""
    noise = np.random.default_rng(0).integers(0, 256, (SIZE[0], SIZE[1] * 2, 3), dtype=np.uint8)
    blobs = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 20), None, 0, 255, cv2.NORM_MINMAX)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = SIZE[1], SIZE[0], "yuv420p"
        stream.codec_context.options = {"preset": "ultrafast", "bf": "0"}
        packets = []
        for number in range(FPS):
            picture = np.ascontiguousarray(blobs[:, 40 * number : 40 * number + SIZE[1]])
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            packets += stream.encode(frame)
        packets += stream.encode()
        kept = [(bytes(packet), packet.pts, packet.is_keyframe) for packet in packets]
        tick = stream.codec_context.time_base
        second = round(1 / tick)
        for number in range(seconds):
            for data, pts, is_keyframe in kept:
                packet = av.Packet(data)
                packet.stream, packet.time_base = stream, tick
                packet.pts = packet.dts = pts + number * second
                packet.is_keyframe = is_keyframe
                container.mux(packet)


if __name__ == "__main__":
    main()
