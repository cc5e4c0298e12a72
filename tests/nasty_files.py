"""Files that mean harm or are damaged, each with what is to come of it.

`python tests/nasty_files.py FOLDER` writes them, to be tried by hand.
"""

import io
import json
import pickle
import struct
import sys
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from nasty_options import option_files
from nasty_pickles import archived, bombs
from PIL import Image

SIDE = 32


class Nasty(NamedTuple):
    """A file and how it is to end."""

    name: str
    data: bytes
    reads: bool | None = False  # True: it is read; False: a sentence; None: either, but no more


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(*extra: bytes, size=(SIDE, SIDE), after=(), depth=8, color=2) -> bytes:
    rows = b"".join(b"\0" + bytes(3 * SIDE * depth // 8) for _ in range(SIDE))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, depth, color, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(rows)) + b"".join(after) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + body


def saved(kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, kind, **options)
    return buffer.getvalue()


def pictures() -> Iterator[Nasty]:
    """Yield pictures: what is fine but for its metadata, and what is not."""
    words = (
        *("transparency", "xmp", "duration", "exif", "icc_profile", "dpi", "gamma", "loop"),
        *("default_image", "blend", "disposal", "bbox", "timestamp", "background", "comment"),
        *("srgb", "chromaticity", "aspect", "photoshop", "interlace"),
    )
    for word in words:
        yield Nasty(f"text_{word}.png", png(chunk(b"tEXt", word.encode() + b"\0yes")), True)
        yield Nasty(f"late_{word}.png", png(after=[chunk(b"tEXt", word.encode() + b"\0y")]), True)
    for kind in (b"eXIf", b"iCCP", b"pHYs", b"tIME", b"gAMA", b"cHRM", b"sRGB", b"acTL", b"zTXt"):
        for number, data in enumerate((b"", b"\0", b"MM\0*\0\0\0\x08\0\x01", bytes(99))):
            yield Nasty(f"short_{kind.decode()}_{number}.png", png(chunk(kind, data)), True)
    yield Nasty("text_bomb.png", png(chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(10**8)))), True)
    for name, size in {
        "wide": (2**31 - 1, 1),
        "huge": (2**31 - 1, 2**31 - 1),
        "nothing": (0, 0),
        "megapixels": (60_000, 60_000),
        "thin": (8, 100_000),
    }.items():
        yield Nasty(f"claims_{name}.png", png(size=size))
        yield Nasty(f"claims_{name}_16.png", png(size=size, depth=16))
        head = struct.pack("<4sIIII", b"BM\0\0", 0, 54, 40, min(size[0], 2**31 - 1))
        yield Nasty(
            f"claims_{name}.bmp", head + struct.pack("<IHHI", size[1], 1, 24, 0) + bytes(99)
        )
        for kind in (b"P5", b"P6"):
            text = kind + f"\n{size[0]} {size[1]}\n65535\n".encode()
            yield Nasty(f"claims_{name}_{kind.decode()}.ppm", text + bytes(64))
    for kind in ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "AVIF", "JPEG2000", "TGA", "ICO"):
        data = saved(kind)
        for part in (0.05, 0.3, 0.6, 0.9):
            yield Nasty(f"cut_{part}.{kind.lower()}", data[: int(len(data) * part)], None)
        for seed in range(4):
            broken = bytearray(data)
            rng = np.random.default_rng(seed)
            for place in rng.integers(0, len(broken), 12):
                broken[place] = rng.integers(0, 256)
            yield Nasty(f"flipped_{seed}.{kind.lower()}", bytes(broken), None)
    yield Nasty("program.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n(x) run\n")
    yield Nasty("program.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n(x) run\n")
    yield Nasty("drawing.svg", b"<svg xmlns='http://www.w3.org/2000/svg'><image href='/x'/></svg>")
    yield Nasty("scan.dcm", bytes(128) + b"DICM" + bytes(99))
    yield Nasty("odd.dds", b"DDS " + struct.pack("<IIII", 124, 0x1007, 64, 64) + bytes(200), None)
    yield Nasty("empty.png", b"")
    yield Nasty("scans.jpg", many_scans())
    yield from tiffs()


def tiff(entries: list[tuple[int, int, int, int]], data: bytes = b"") -> bytes:
    body = struct.pack("<H", len(entries))
    for entry in entries:
        body += struct.pack("<HHII", *entry)
    return b"II*\0" + struct.pack("<I", 8) + body + struct.pack("<I", 0) + data


def tiffs() -> Iterator[Nasty]:
    """Yield TIFFs whose tags claim what is not there."""
    packed = zlib.compress(bytes(10**8))
    for bits in (1, 8, 16, 32):
        for side in (SIDE, 2**31 - 1):
            tags = [
                (256, 4, 1, side),
                (257, 4, 1, side),
                (258, 3, 1, bits),
                (259, 3, 1, 8),
                (262, 3, 1, 1),
                (273, 4, 1, 200),
                (277, 3, 1, 1),
                (278, 4, 1, side),
                (279, 4, 1, len(packed)),
            ]
            data = tiff(tags)
            yield Nasty(f"bomb_{bits}_{side}.tif", data.ljust(200, b"\0") + packed, None)
            yield Nasty(f"bare_{bits}_{side}.tif", data, None)
    tags = [(256, 4, 1, SIDE), (257, 4, 1, SIDE * 32), (258, 3, 1, 32), (259, 3, 1, 8)]
    tags += [(262, 3, 1, 1), (273, 4, 1, 200), (277, 3, 1, 65_535), (278, 4, 1, SIDE * 32)]
    tags += [(279, 4, 1, len(packed)), (339, 3, 1, 3)]
    yield Nasty("bands.tif", tiff(tags).ljust(200, b"\0") + packed)
    yield Nasty("loop.tif", b"II*\0" + struct.pack("<IHI", 8, 0, 8))
    yield Nasty("count.tif", tiff([(273, 4, 2**32 - 1, 8), (256, 4, 2**31, 8)]))
    yield Nasty("far.tif", b"II*\0\xff\xff\xff\xff")


def npy(shape: str, descr: str = "<f4", data: bytes = b"") -> bytes:
    header = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}"
    text = header.encode().ljust(118) + b"\n"
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(text)) + text + data


def archive(members: dict[str, bytes], compression=zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return buffer.getvalue()


def arrays(**fields) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **fields)
    return buffer.getvalue()


def tensors(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def many_scans() -> bytes:
    """Return a progressive JPEG whose last scan, which changes nothing, stands there 200 times."""
    data = saved("JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * 200 + data[-2:]


def records() -> Iterator[Nasty]:
    """Yield record files."""
    side = 1500
    claims = np.zeros((side * side, 1), np.float16)
    grid = np.array([side, side])
    yield Nasty("grid.npz", arrays(query=claims, key=claims, query_grid=grid, key_grid=grid))
    wide = np.zeros((512 * 512, 200), np.float16)
    yield Nasty("numbers.npz", arrays(query=wide, key=wide))
    yield Nasty("bomb.npz", archive({"query.npy": npy("(1000000000,)", data=bytes(10**8))}))
    yield Nasty(
        "twenty.npz", archive({f"q{n}.npy": npy("(1,)", data=bytes(6 * 10**7)) for n in range(12)})
    )
    for name, shape in {
        "far": "(1000000000000,)",
        "minus": "(-1,)",
        "deep": "(" + "1," * 60 + ")",
        "words": "('a',)",
        "call": "__import__('os').system('x')",
        "none": "()",
        "zeros": "(0, 0, 0)",
    }.items():
        yield Nasty(f"shape_{name}.npz", archive({"query.npy": npy(shape), "key.npy": npy(shape)}))
    for descr in ("|O", "|V0", "<U99999999", "<c16", "|b1", "<M8[s]", "<f99", "x"):
        name = "".join(one for one in descr if one.isalnum())
        yield Nasty(f"type_{name}.npz", archive({"query.npy": npy("(1,)", descr, bytes(16))}))
    yield Nasty("many.npz", archive({f"m{n}.npy": b"" for n in range(5000)}))
    yield Nasty("lzma.npz", archive({"query.npy": npy("(1,)", data=bytes(4))}, zipfile.ZIP_LZMA))
    yield Nasty("long_name.npz", archive({"q" * 60_000 + ".npy": npy("(1,)", data=bytes(4))}))
    yield Nasty("no_zip.npz", b"PK\x03\x04" + bytes(200))
    yield Nasty("text.npz", b"hello")
    good = arrays(query=np.zeros((4, 4, 2), "f4"), key=np.zeros((4, 4, 2), "f4"))
    yield Nasty("good.npz", good, True)
    encrypted = bytearray(good)
    encrypted[6] |= 1
    encrypted[encrypted.index(b"PK\x01\x02") + 8] |= 1
    yield Nasty("encrypted.npz", bytes(encrypted))
    for part in (0.1, 0.5, 0.9):
        yield Nasty(f"cut_{part}.npz", good[: int(len(good) * part)])
    for field, value in {
        "scale": np.array("x"),
        "form": np.array(3),
        "query_grid": np.array([0, 16]),
        "key_labels": np.zeros(16, int),
        "attention": np.full((16, 16), 7.0),
        "unary": np.zeros(3, "f4"),
        "nonsense": np.zeros(3),
        "image": np.zeros((4, 4, 3), np.uint8),
    }.items():
        known = {"query": np.zeros((4, 4, 2), "f4"), "key": np.zeros((4, 4, 2), "f4")}
        yield Nasty(f"field_{field}.npz", arrays(**known, **{field: value}))
    for value in (np.nan, np.inf):
        yield Nasty(
            f"holds_{value}.npz", arrays(query=np.full((4, 4, 2), value), key=np.zeros((4, 4, 2)))
        )
    yield from tensor_files()


def tensor_files() -> Iterator[Nasty]:
    """Yield safetensors, whose header is what harms."""
    names = {
        f"h{n}.query": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for n in range(5000)
    }
    yield Nasty("many.safetensors", tensors(names))
    yield Nasty("long_header.safetensors", tensors(b"{" + b" " * (1 << 25) + b"}"))
    for name, header in {
        "far": {"query": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}},
        "short": {"query": {"dtype": "F32", "shape": [4], "data_offsets": [0, 4]}},
        "type": {"query": {"dtype": "Q77", "shape": [1], "data_offsets": [0, 4]}},
        "int8": {"query": {"dtype": "I8", "shape": [4], "data_offsets": [0, 4]}},
        "list": [],
        "nested": b"[" * 5000 + b"]" * 5000,
        "text": b"not json",
        "meta": {"__metadata__": {"a": 3}},
        "long": {"q" * 70_000: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}},
    }.items():
        yield Nasty(f"header_{name}.safetensors", tensors(header, bytes(4)))
    yield Nasty("length.safetensors", struct.pack("<Q", 2**63) + b"{}")


def weights() -> Iterator[Nasty]:
    """Yield files of weights: pickles above all."""
    yield Nasty("nine_bytes.pkl", b"\x80\x02Nr\xff\xff\xff\x3f.")
    for code in (b"r", b"j"):
        for place in (b"\xff\xff\xff\x7f", b"\xff\xff\xff\xff"):
            yield Nasty(f"memo_{code.hex()}_{place.hex()}.pth", b"\x80\x02N" + code + place + b".")
    for code in (b"\x8e", b"\x8d", b"\x96", b"\x95"):
        for length in (2**32, 2**40, 2**62):
            yield Nasty(
                f"length_{code.hex()}_{length}.pth",
                b"\x80\x05" + code + struct.pack("<Q", length) + b"x.",
            )
    for code in (b"B", b"X", b"T"):
        yield Nasty(f"length_{code.hex()}.pth", b"\x80\x03" + code + b"\xff\xff\xff\x7fx.")
    text = b"X" + struct.pack("<I", 10**6) + bytes([1] * 10**6)
    once = b"h\x00h\x01\x86R"  # the text, the encoding: bytes of it
    begin = b"\x80\x02(c_codecs\nencode\n" + text + b"q\x00X\x06\0\0\0latin1q\x01"
    again = b"c_codecs\nencode\n" + once
    yield Nasty("encoded_again.pkl", begin + again * 4000 + b"t.")
    for name, code in {
        "system": b"cos\nsystem\n(S'true'\ntR.",
        "eval": b"cbuiltins\neval\n(S'1'\ntR.",
        "getattr": b"cbuiltins\ngetattr\n(cos\nsystem\nS'x'\ntR.",
        "popen": b"csubprocess\nPopen\n(S'true'\ntR.",
        "import": b"cbuiltins\n__import__\n(S'os'\ntR.",
    }.items():
        yield Nasty(f"calls_{name}.pth", b"\x80\x02" + code)
        yield Nasty(f"calls_{name}.pkl", b"\x80\x02" + code)
    yield Nasty("deep.pkl", b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b".")
    yield Nasty("marks.pkl", b"\x80\x02" + b"(" * 200_000 + b".")
    yield Nasty("no_end.pkl", b"\x80\x02I" + b"1" * 3_000_000)
    yield Nasty("digits.pkl", b"\x80\x02I" + b"1" * 900_000 + b"\n.")
    yield Nasty("list.pkl", pickle.dumps([1, 2, 3], 2))
    yield Nasty("words.pkl", pickle.dumps({"a": "b"}, 2))
    yield Nasty("itself.pkl", b"\x80\x02}q\0X\x01\0\0\0aq\1h\0s.")
    doubled = b"\x80\x02]q\0"
    for level in range(40):
        doubled += b"](h" + bytes([level]) + b"h" + bytes([level]) + b"eq" + bytes([level + 1])
    yield Nasty("doubled.pkl", doubled + b".")
    for name, code in bombs():
        yield Nasty(f"bomb_{name}.pkl", b"\x80\x04" + code)
        yield Nasty(f"bomb_{name}.pth", archived(code))
    yield Nasty("packed.pth", archive({"x/data.pkl": b"\x80\x02}." + bytes(10**8)}))
    yield Nasty("program.pth", archive({"x/constants.pkl": b"", "x/data.pkl": b"\x80\x02}."}, 0))
    yield Nasty("nothing.pth", archive({"x/data.pkl": b"\x80\x02}."}, 0))
    yield Nasty("climbs.pth", archive({"../../data.pkl": b"\x80\x02}."}, 0))
    yield Nasty("text.pth", b"hello")
    yield Nasty("empty.pth", b"")
    yield Nasty("old.pth", b"\x80\x02\x8a\nl\xfc\x9cF" + bytes(64))
    yield Nasty("index.safetensors.index.json", json.dumps({"weight_map": {"a": "../x"}}).encode())
    yield Nasty("gone.safetensors.index.json", json.dumps({"weight_map": {"a": "x.st"}}).encode())
    yield Nasty("text.safetensors.index.json", b"[" * 5000)
    yield from tensor_files()


def options() -> Iterator[Nasty]:
    """Yield files of options."""
    for name, text in option_files():
        yield Nasty(name, text.encode())


def clips() -> Iterator[Nasty]:
    """Yield moving pictures."""
    lists = {
        "concat": b"ffconcat version 1.0\nfile /etc/hostname\n",
        "hls": b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n/etc/hostname\n",
        "sdp": b"v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 5000 RTP/AVP 96\n",
        "dash": b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"></MPD>',
        "smil": b"<smil><body><video src='/etc/hostname'/></body></smil>",
        "subtitle": b"WEBVTT\n\n00:00.000 --> 00:01.000\nhello\n",
    }
    for name, data in lists.items():
        for suffix in ("mp4", "mkv", "avi", "ts"):
            yield Nasty(f"{name}.{suffix}", data)
    for suffix in ("mp4", "mkv", "avi", "ts", "webm", "mov", "gif"):
        yield Nasty(f"empty.{suffix}", b"")
        yield Nasty(f"noise.{suffix}", np.random.default_rng(0).bytes(5000))
    box = struct.pack(">I4s", 2**31 - 1, b"moov") + bytes(64)
    yield Nasty("box.mp4", struct.pack(">I4s4sI", 16, b"ftyp", b"isom", 0) + box)
    frames = [Image.new("P", (SIDE, SIDE), color) for color in range(3)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=50)
    data = buffer.getvalue()
    for part in (0.3, 0.6, 0.9):
        yield Nasty(f"cut_{part}.gif", data[: int(len(data) * part)], None)
    for word in ("duration", "loop", "transparency"):
        yield Nasty(f"clip_text_{word}.png", png(chunk(b"tEXt", word.encode() + b"\0y")), True)


GROUPS = {
    "pictures": pictures,
    "records": records,
    "weights": weights,
    "options": options,
    "clips": clips,
}


if __name__ == "__main__":
    for group, files in GROUPS.items():
        folder = Path(sys.argv[1]) / group
        folder.mkdir(parents=True, exist_ok=True)
        for nasty in files():
            (folder / nasty.name).write_bytes(nasty.data)
