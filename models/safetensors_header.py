"""The header of a safetensors file: JSON before the numbers, taken off and put back."""

import json
import struct
from typing import Any

from nonlocal_lens.models.limits import MOST_HEADER_BYTES


def split(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Return a safetensors file's header and its numbers; ValueError if it is none."""
    try:
        (length,) = struct.unpack_from("<Q", data)
        if length > MOST_HEADER_BYTES:
            raise ValueError(f"its header has {length} bytes; at most {MOST_HEADER_BYTES} are read")
        return json.loads(data[8 : 8 + length]), data[8 + length :]
    except (struct.error, ValueError, RecursionError) as error:
        raise ValueError(f"this is not a safetensors file: {error}") from error


def joined(header: dict[str, Any], numbers: bytes) -> bytes:
    """Return the file of a header, in its order, and of numbers."""
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + numbers
