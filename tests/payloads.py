"""What a viewer is sent, packed and taken apart again."""

import json

from safetensors.numpy import load

from nonlocal_lens.app.viewer.payload import Shown, pack_all


def pack(observation, record, *, title, alt):
    """Return the payload of one record on one image."""
    return pack_all(observation.image, [Shown(title, record, observation.output)], alt=alt)


def unpack(payload):
    length = int.from_bytes(payload[:8], "little")
    config = json.loads(json.loads(payload[8 : 8 + length])["__metadata__"]["config"])
    return config, load(payload)
