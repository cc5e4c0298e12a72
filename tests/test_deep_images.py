"""Pictures deeper than 8 bits: a ramp from dark to bright stays one, and its range is said."""

import io

import numpy as np
import pytest
import tifffile
from PIL import Image

from nonlocal_lens.analysis.images import read_image, read_with_note

HW = (47, 61)
RAMP = np.tile(np.linspace(0, 1, HW[1]), (HW[0], 1))
SHOWN = np.rint(RAMP * 255)


def deep(bits):
    return np.rint(RAMP * (2**bits - 1)).astype(np.uint16)


def colors(gray):
    return np.stack([gray] * 3, axis=2)


def tag(code, value):
    if isinstance(value, str):
        return code, "s", 0, value, True
    return code, "H" if isinstance(value, int) else "f", 1, value, True


FILES = {
    "10 in 16": (deep(10), {}, "1023 white.*10 bits are the least"),
    "12 in 16": (deep(12), {}, "4095 white.*12 bits are the least"),
    "14 in 16": (deep(14), {}, "16383 white"),
    "16": (deep(16), {}, "65535 white"),
    "bits said": (deep(12), {"bitspersample": 12}, "the file says that its values have 12 bits"),
    "largest said": (
        np.rint(RAMP * 3000).astype(np.uint16),
        {"extratags": [tag(281, 3000)]},
        "3000 white, because the file's tags",
    ),
    "range said": (
        (RAMP * 3000 - 500).astype(np.float32),
        {"extratags": [tag(340, -500.0), tag(341, 2500.0)]},
        "-500 is shown black and 2500 white, because the file's tags SMin",
    ),
    "lzw": (deep(12), {"compression": "lzw"}, "4095"),
    "deflate, tiled": (deep(12), {"compression": "zlib", "tile": (16, 16)}, "4095"),
    "zstd, predicted": (deep(12), {"compression": "zstd", "predictor": True}, "4095"),
    "big": (deep(12), {"bigtiff": True}, "4095"),
    "other end": (deep(12), {"byteorder": ">"}, "4095"),
    "colors": (colors(deep(12)), {"photometric": "rgb"}, "4095"),
    "planes": (
        np.moveaxis(colors(deep(12)), 2, 0).copy(),
        {"photometric": "rgb", "planarconfig": "separate"},
        "4095",
    ),
    "alpha": (
        np.dstack([colors(deep(12)), np.full(HW, 4095, np.uint16)]),
        {"photometric": "rgb", "extrasamples": ["unassalpha"]},
        "4095",
    ),
    "many bands": (
        np.stack([deep(12), deep(12)[:, ::-1], deep(12)[:, ::-1]], axis=2),
        {"photometric": "minisblack", "planarconfig": "contig"},
        "band 1 of 3",
    ),
    "white is zero": (4095 - deep(12), {"photometric": "miniswhite"}, "0 is shown white"),
    "white is zero, 16": (65535 - deep(16), {"photometric": "miniswhite"}, "0 is shown white"),
    "white is zero, float": (
        (1 - RAMP).astype(np.float32),
        {"photometric": "miniswhite"},
        "0 is shown white and 1 black",
    ),
    "white is zero, 8": (255 - SHOWN.astype(np.uint8), {"photometric": "miniswhite"}, ""),
    "parts of 1": (RAMP.astype(np.float32), {}, "0 is shown black and 1 white"),
    "8 bits as floats": (SHOWN.astype(np.float32), {}, "255 white"),
    "to 1000": ((RAMP * 1000).astype(np.float32), {}, "1000 white"),
    "to 100": ((RAMP * 100).astype(np.float64), {}, "100 white"),
    "half": ((RAMP * 1000).astype(np.float16), {}, "1000 white"),
    "around 0": (RAMP * 2 - 1, {}, "-1 is shown black and 1 white"),
    "signed": ((RAMP * 4000 - 1000).astype(np.int16), {}, "-1000 is shown black and 3000 white"),
    "signed bytes": (np.rint(RAMP * 255 - 128).astype(np.int8), {}, "-128 is shown black"),
    "32": ((RAMP * 1e6).astype(np.uint32), {}, "1e.06 white"),
    "pages": (np.stack([deep(12), deep(12)[::-1, ::-1]]), {}, "first of its 2 pages"),
    "palette": (
        SHOWN.astype(np.uint8),
        {"photometric": "palette", "colormap": np.stack([np.arange(256) * 257] * 3).astype("u2")},
        "",
    ),
    "palette of 8 bits": (
        SHOWN.astype(np.uint8),
        {"photometric": "palette", "colormap": np.stack([np.arange(256)] * 3).astype("u2")},
        "8-bit values where 16",
    ),
    "ink": (
        np.dstack([65535 - deep(16)] * 3 + [np.zeros(HW, np.uint16)]),
        {"photometric": "separated"},
        "65535",
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_a_ramp_is_a_ramp_and_its_range_is_said(tmp_path, name):
    values, options, note = FILES[name]
    tifffile.imwrite(tmp_path / "ramp.tif", values, **options)
    found = read_with_note(tmp_path / "ramp.tif")
    assert found.image.shape == (*HW, 3)
    assert np.abs(found.image.astype(float) - SHOWN[..., None]).max() <= 1
    if note:
        import re

        assert re.search(note, found.note), found.note
    else:
        assert found.note == ""


@pytest.mark.parametrize("missing", [-9999, np.nan, np.inf])
def test_pixels_without_data_have_no_part_in_the_range(tmp_path, missing):
    values = (RAMP * 1000).astype(np.float32)
    values[:5] = missing
    more = {"extratags": [tag(42113, "-9999")]} if missing == -9999 else {}
    tifffile.imwrite(tmp_path / "map.tif", values, **more)
    image, note = read_with_note(tmp_path / "map.tif")
    assert (image[:5] == 255).all()
    assert np.abs(image[5:, :, 0] - SHOWN[5:]).max() <= 1
    assert "10.6% of its pixels hold no data and are shown white" in note


def test_one_bit_is_black_and_white(tmp_path):
    tifffile.imwrite(tmp_path / "mask.tif", RAMP > 0.5, photometric="minisblack")
    assert np.array_equal(read_image(tmp_path / "mask.tif")[..., 1], (RAMP > 0.5) * 255)


def test_a_deep_picture_is_turned_upright(tmp_path):
    tifffile.imwrite(tmp_path / "turned.tif", deep(12), extratags=[tag(274, 3)])
    assert np.abs(read_image(tmp_path / "turned.tif")[..., 0] - SHOWN[::-1, ::-1]).max() <= 1


@pytest.mark.parametrize("values", [deep(12), deep(16), colors(deep(12)), colors(deep(16))])
def test_png_of_16_bits_keeps_its_depth(values):
    import imagecodecs

    image, note = read_with_note(imagecodecs.png_encode(values))
    assert np.abs(image.astype(float) - SHOWN[..., None]).max() <= 1
    assert f"{values.max()} white" in note


@pytest.mark.parametrize("channels", [1, 3])
def test_netpbm_says_its_own_largest_value(channels):
    values = deep(12) if channels == 1 else colors(deep(12))
    head = f"P{5 if channels == 1 else 6}\n# a comment\n{HW[1]} {HW[0]}\n4095\n".encode()
    image, note = read_with_note(head + values.astype(">u2").tobytes())
    assert np.abs(image.astype(float) - SHOWN[..., None]).max() <= 1
    assert "4095 is its largest value" in note


def test_jpeg_2000_says_its_own_depth():
    import imagecodecs

    data = imagecodecs.jpeg2k_encode(deep(12), bitspersample=12, reversible=True)
    image, note = read_with_note(data)
    assert np.abs(image[..., 0] - SHOWN).max() <= 1
    assert "12 bits" in note


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (RAMP.astype(np.complex64), "complex numbers"),
        (np.full(HW, np.nan, np.float32), "no finite values"),
        (np.full(HW, -3, np.int16), "all values of the image are -3"),
    ],
)
def test_what_has_no_range_is_refused(tmp_path, values, sentence):
    tifffile.imwrite(tmp_path / "odd.tif", values)
    with pytest.raises(ValueError, match=sentence):
        read_image(tmp_path / "odd.tif")


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (bytes(128) + b"DICM" + bytes(99), "DICOM files cannot be read"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n", "PostScript is a program"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99), "HEIC pictures cannot be read"),
        (b"v/1\x01" + bytes(99), "OpenEXR"),
        (b"#?RADIANCE\n" + bytes(99), "Radiance"),
        (b"%PDF-1.7\n" + bytes(99), "PDF pages"),
    ],
)
def test_kinds_that_are_not_read_say_what_to_do(data, sentence):
    with pytest.raises(ValueError, match=sentence):
        read_image(data)


def test_pictures_of_8_bits_need_no_note():
    for kind in ("PNG", "JPEG", "TIFF", "BMP"):
        buffer = io.BytesIO()
        Image.fromarray(colors(SHOWN.astype(np.uint8))).save(buffer, kind)
        assert read_with_note(buffer.getvalue()).note == ""
