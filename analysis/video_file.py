"""Videos, decoded by OpenCV."""

import os
from contextlib import ExitStack
from pathlib import Path

import cv2

from analysis.clip_sources import Frame
from analysis.images import check_size
from models.file_hash import file_sha256

SEEK_BEYOND = 96
"""Gaps of more frames than this are jumped over; smaller ones are decoded and dropped."""

LONGEST_COUNT = 200_000
"""A video that does not say how long it is is followed for at most so many frames."""

os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # errors reach users as sentences, not here


class VideoFile:
    """A video that OpenCV decodes, upright, frame after frame."""

    note = ""

    def __init__(self, path: Path, name: str, opened: ExitStack) -> None:
        self.name, self._path, self._opened = name, path, opened
        self._open()
        fps = self._video.get(cv2.CAP_PROP_FPS)
        self.fps = fps if 0 < fps <= 1000 else 25.0
        announced = self._video.get(cv2.CAP_PROP_FRAME_COUNT)
        self.count = int(announced) if 1 <= announced < 1e9 else None
        self.reached = 0

    def _open(self) -> None:
        logs = cv2.utils.logging
        level = logs.setLogLevel(logs.LOG_LEVEL_SILENT)
        try:
            self._video = cv2.VideoCapture(str(self._path), cv2.CAP_FFMPEG)
        finally:
            logs.setLogLevel(level)
        self._opened.callback(self._video.release)
        if not self._video.isOpened():
            raise ValueError(
                f"{self.name} is not a video that can be decoded: it is no mp4, avi, mov, webm, "
                "mkv or GIF, has no picture (only sound), or is cut off"
            )
        self._at = -1  # the frame that was grabbed last

    def frame(self, index: int) -> Frame | None:
        """Return a frame; None beyond the last."""
        if index - self._at > SEEK_BEYOND and self._video.set(cv2.CAP_PROP_POS_FRAMES, index):
            self._at = index - 1
        while self._at < index:
            if not self._video.grab():
                return None
            self._at += 1
            self.reached = max(self.reached, self._at + 1)
        found, image = self._video.retrieve()
        if not found or image is None:
            return None
        check_size(image.shape[1], image.shape[0])
        time = self._video.get(cv2.CAP_PROP_POS_MSEC) / 1000
        return Frame(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), max(time, 0.0))

    def counted(self) -> int:
        """Return how many frames there are, by decoding all where the file does not say."""
        if self.count is None:
            for _ in range(LONGEST_COUNT):
                if not self._video.grab():
                    break
                self._at += 1
            self.reached = self._at + 1
            self.again()
        return self.count or 0

    def sha256(self) -> str:
        """Return the hash of the file."""
        return file_sha256(self._path)

    def again(self) -> "VideoFile":
        """Return it from its beginning, with the frames that could be decoded."""
        self.count = self.reached
        self._video.release()
        self._open()
        return self
