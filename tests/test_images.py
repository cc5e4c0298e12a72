import io
import re

import numpy as np
import pytest
import torch
from PIL import Image

from nonlocal_lens.analysis.images import read_image

HW = (37, 53)


@pytest.fixture
def picture():
    """Return smooth colors that differ along both axes and between channels."""
    y, x = np.mgrid[: HW[0], : HW[1]]
    return np.stack([x * 4, y * 6, 255 - x * 2], axis=2).astype(np.uint8)


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_every_way_to_hand_over_an_image_gives_the_same_pixels(picture, tmp_path):
    Image.fromarray(picture).save(tmp_path / "picture.png")
    tensor = torch.from_numpy(picture).permute(2, 0, 1)
    for source in (
        picture,
        Image.fromarray(picture),
        tmp_path / "picture.png",
        str(tmp_path / "picture.png"),
        (tmp_path / "picture.png").read_bytes(),
        tensor,
        tensor.float() / 255,
    ):
        assert np.array_equal(read_image(source), picture), type(source)


def test_gray_and_palette_images_are_converted(picture):
    gray = picture[..., 0]
    expected = np.repeat(gray[..., None], 3, axis=2)
    assert np.array_equal(read_image(gray), expected)
    assert np.array_equal(read_image(encoded(Image.fromarray(gray))), expected)
    palette = Image.fromarray(picture).quantize(64)
    assert np.array_equal(read_image(encoded(palette)), np.array(palette.convert("RGB")))
    assert set(np.unique(read_image(encoded(Image.fromarray(gray > 99))))) == {0, 255}


def test_cmyk_is_converted(picture):
    cmyk = Image.fromarray(picture).convert("CMYK")
    difference = read_image(encoded(cmyk, "JPEG", quality=100, subsampling=0)).astype(int) - picture
    assert np.abs(difference).mean() < 4


def test_16_bit_gray_is_scaled_not_cut_off():
    deep = np.linspace(0, 65535, HW[0] * HW[1]).reshape(HW).astype(np.uint16)
    shallow = read_image(encoded(Image.fromarray(deep)))
    assert shallow.shape == (*HW, 3)
    assert np.abs(shallow[..., 0].astype(float) - deep / 257).max() <= 0.5


def test_float_gray_is_scaled():
    values = np.linspace(0, 1, HW[0] * HW[1], dtype=np.float32).reshape(HW)
    shown = read_image(encoded(Image.fromarray(values), "TIFF"))
    assert np.abs(shown[..., 0] - values * 255).max() <= 0.5


def test_transparency_is_laid_over_white(picture):
    alpha = np.zeros(HW, np.uint8)
    alpha[:, 20:] = 255
    shown = read_image(encoded(Image.fromarray(np.dstack([picture, alpha]))))
    assert (shown[:, :20] == 255).all()
    assert np.array_equal(shown[:, 20:], picture[:, 20:])


def test_the_cameras_orientation_is_applied(picture):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn 90 degrees clockwise to see it upright
    shown = read_image(encoded(Image.fromarray(picture), exif=exif.tobytes()))
    assert np.array_equal(shown, np.rot90(picture, -1))


def test_the_first_frame_of_an_animation_is_taken(picture):
    frames = [Image.fromarray(picture), Image.fromarray(255 - picture)]
    animated = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    assert np.array_equal(read_image(animated), picture)
    gif = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert read_image(gif).shape == (*HW, 3)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"is empty \(0 bytes\)"),
        (b"this is a text file", "not an image in a known format; PNG, JPEG"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "damaged or incomplete|not an image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image in a known format"),
    ],
    ids=["empty", "text", "header-only", "svg"],
)
def test_what_is_no_image_is_refused(data, message):
    with pytest.raises(ValueError, match=message):
        read_image(data)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP"])
@pytest.mark.parametrize("kept", [0.2, 0.6, 0.95])
def test_truncated_files_are_refused_or_shown_never_a_crash(picture, kind, kept):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (*HW, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    try:
        shape = read_image(data[: int(len(data) * kept)]).shape
    except ValueError as error:
        shape = re.search("is damaged or incomplete|is not an image", str(error))
    assert shape


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((1, 1), "1 x 1 pixels; both sides must be at least 8"),
        ((7, 300), "7 x 300 pixels; both sides must be at least 8"),
        ((8, 513), "at most 64 times the short one"),
        ((8000, 6000), "8000 x 6000 pixels; at most 40 megapixels"),
        ((20_000, 20_000), "more than 40 megapixels|at most 40 megapixels"),
    ],
    ids=str,
)
def test_sizes_that_cannot_be_shown_are_refused_in_words(size, message):
    data = encoded(Image.new("1", size))
    with pytest.raises(ValueError, match=message):
        read_image(data)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no image file .*nowhere\.png"):
        read_image(tmp_path / "nowhere.png")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (np.zeros((9, 9, 4), np.uint8), r"got uint8 of shape \(9, 9, 4\)"),
        (np.zeros((9, 9, 3), np.float32), r"got float32 of shape \(9, 9, 3\)"),
        (torch.zeros(9, 9, 3), r"must have shape \(3, height, width\), got \(9, 9, 3\)"),
        (torch.full((3, 9, 9), 2.0), r"values in \[0, 1\], got 2 to 2"),
        (torch.full((3, 9, 9), float("nan")), r"values in \[0, 1\], got nan"),
    ],
    ids=["rgba", "float", "channels-last", "range", "nan"],
)
def test_arrays_and_tensors_of_the_wrong_kind_are_refused(source, message):
    with pytest.raises(ValueError, match=message):
        read_image(source)


def test_negative_depths_are_refused():
    data = encoded(Image.fromarray(np.full(HW, -3, np.int32)), "TIFF")
    with pytest.raises(ValueError, match="finite and at least 0"):
        read_image(data)
