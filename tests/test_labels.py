"""Labels of any data set: the regions decide, not the values that stand for them."""

import csv
import io

import numpy as np
import pytest
import tifffile
from batches import saved_network
from PIL import Image
from records import random_record
from typer.testing import CliRunner

from nonlocal_lens.analysis import consistency
from nonlocal_lens.analysis.figures.panels import class_picture, shades_of
from nonlocal_lens.analysis.labels import NO_CLASS, Void, read_labels, without_void
from nonlocal_lens.app.cli import cli
from nonlocal_lens.models.label_files import read_label_file
from nonlocal_lens.models.training.data import Dataset, read_samples

HW = (40, 56)
REGIONS = np.zeros(HW, np.int64)  # three classes and a void border, in places that cross cells
REGIONS[:, 19:37] = 1
REGIONS[:, 37:] = 2
REGIONS[:, 18:20] = 3


def png(values, mode=None):
    buffer = io.BytesIO()
    picture = Image.fromarray(values, mode) if mode else Image.fromarray(values)
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def as_values(*values, kind=np.uint8):
    return np.array(values)[REGIONS].astype(kind)


def palette(values):
    picture = Image.fromarray(values)
    picture.putpalette([(7 * entry) % 256 for entry in range(768)])
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def tiff(values):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values)
    return buffer.getvalue()


COLORS = np.array([[0, 0, 0], [128, 64, 128], [0, 0, 142], [224, 224, 192]], np.uint8)
DATA_SETS = {
    "streets": (png(as_values(0, 1, 2, 255)), None),
    "Pascal VOC": (png(as_values(0, 15, 7, 255)), None),
    "its palette": (palette(as_values(0, 15, 7, 255)), None),
    "its colors": (png(COLORS[REGIONS]), None),
    "gray as colors": (png(np.repeat(as_values(0, 15, 7, 255)[..., None], 3, axis=2)), None),
    "Cityscapes' ids": (png(as_values(7, 24, 26, 0)), "cityscapes"),
    "Cityscapes' training ids": (png(as_values(0, 11, 13, 255)), None),
    "COCO": (png(as_values(181, 0, 90, 255)), "voc"),
    "ADE20K": (png(as_values(3, 150, 12, 0)), "ade20k"),
    "16 bits": (png(as_values(1, 40000, 300, 65535, kind=np.uint16)), None),
    "16 bits in TIFF": (tiff(as_values(1, 40000, 300, 65535, kind=np.uint16)), None),
    "signed": (tiff(as_values(5, 6, 100, -1, kind=np.int16)), None),
    "whole floats": (tiff(as_values(1, 2, 3, 255, kind=np.float32)), "255"),
    "a range": (png(as_values(40, 41, 42, 5)), "0-6,255"),
    "other colors": (png(COLORS[REGIONS][..., ::-1].copy()), "#c0e0e0"),
}


@pytest.fixture
def expected(generator):
    record = random_record(generator)
    return record, consistency.measure(record, np.where(REGIONS == 3, NO_CLASS, REGIONS))


@pytest.mark.parametrize("name", DATA_SETS)
def test_the_same_regions_give_the_same_number(name, expected):
    record, right = expected
    data, void = DATA_SETS[name]
    found = read_labels(data, HW, Void.parse(void))
    assert (found.values == NO_CLASS).sum() == (REGIONS == 3).sum()
    measured = consistency.measure(record, found.values)
    assert measured.own_category == right.own_category
    assert measured.boundary == right.boundary
    assert sorted(map(str, measured.by_class.values())) == sorted(map(str, right.by_class.values()))
    assert "void" in found.note


def test_masks_keep_their_foreground(generator):
    record = random_record(generator)
    halves = (REGIONS > 1).astype(np.uint8)
    right = consistency.measure(record, halves.astype(np.int32))
    for data in (png(halves * 255), png(halves > 0), png(halves.astype(np.uint16) * 65535)):
        found = read_labels(data, HW)
        assert consistency.measure(record, found.values).own_category == right.own_category
    assert "255 is their foreground and no label is void" in read_labels(png(halves * 255), HW).note


def test_other_files_tell_a_mask_from_a_picture_that_is_mostly_void(tmp_path):
    halves = (REGIONS > 1).astype(np.uint8) * 255
    (tmp_path / "a.png").write_bytes(png(halves))
    (tmp_path / "b.png").write_bytes(png(as_values(0, 1, 2, 255)))
    alone = read_labels(tmp_path / "a.png", HW, beside=[tmp_path / "a.png"])
    assert set(np.unique(alone.values)) == {0, 255}
    beside = read_labels(tmp_path / "a.png", HW, beside=[tmp_path / "a.png", tmp_path / "b.png"])
    assert set(np.unique(beside.values)) == {0, NO_CLASS}


def test_cityscapes_ids_are_known_by_the_name_of_their_file(tmp_path):
    path = tmp_path / "x_gtFine_labelIds.png"
    path.write_bytes(png(as_values(7, 24, 26, 4)))
    found = read_labels(path, HW)
    assert (found.values == NO_CLASS).sum() == (REGIONS == 3).sum()
    assert "labelIds" in found.note


def test_gray_of_few_bits_has_its_own_values():
    from struct import pack
    from zlib import compress, crc32

    def chunk(kind, data):
        return pack(">I", len(data)) + kind + data + pack(">I", crc32(kind + data))

    rows = b"".join(b"\0" + bytes([0x0F, 0x1F, 0x23, 0x45]) for _ in range(8))
    header = chunk(b"IHDR", pack(">IIBBBBB", 8, 8, 4, 0, 0, 0, 0))
    data = header + chunk(b"IDAT", compress(rows)) + chunk(b"IEND", b"")
    found = read_label_file(b"\x89PNG\r\n\x1a\n" + data)
    assert found.values[0].tolist() == [0, 15, 1, 15, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("void", "values"),
    [
        (None, None),
        ("", None),
        ("255", {255}),
        ("0, 255", {0, 255}),
        ("0-3,255", {0, 1, 2, 3, 255}),
        ("#0000ff", {255}),
        ("none", set()),
        ("ade20k", {0}),
    ],
)
def test_void_values_are_read(void, values):
    assert Void.parse(void).values == values


@pytest.mark.parametrize("void", ["x", "3-1", "-1", "1.5", "#fff", "0-99999999", "9" * 40])
def test_what_is_no_void_value_is_refused(void):
    with pytest.raises(ValueError, match="void"):
        Void.parse(void)


def jpeg():
    buffer = io.BytesIO()
    Image.fromarray(as_values(0, 60, 120, 255)).save(buffer, "JPEG")
    return buffer.getvalue()


NOISE = np.random.default_rng(0).integers(0, 256, (*HW, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (png(as_values(0, 1, 2, 3)[:9]), "picture's size"),
        (jpeg(), "does not keep values"),
        (
            png(np.kron(NOISE, np.ones((3, 3, 1), np.uint8))[: HW[0] * 2]),
            "more than labels have|size",
        ),
        (tiff((REGIONS * 0.5).astype(np.float32)), "no whole numbers"),
        (png(np.dstack([COLORS[REGIONS], np.full(HW, 128, np.uint8)])), "transparent in part"),
        (b"no picture", "no image that can be read"),
        (b"", "no image that can be read"),
    ],
)
def test_what_holds_no_labels_is_refused(data, sentence):
    with pytest.raises(ValueError, match=sentence):
        read_labels(data, HW)


def test_photographs_are_no_labels():
    photograph = np.random.default_rng(0).integers(0, 256, (97, 89, 3), dtype=np.uint8)
    with pytest.raises(ValueError, match="colors, more than labels have"):
        read_label_file(png(photograph))


def test_arrays_follow_the_same_rule():
    values = as_values(0, 15, 7, 255)
    assert (without_void(values, None) == NO_CLASS).sum() == (REGIONS == 3).sum()
    assert (without_void(values, ()) == NO_CLASS).sum() == 0
    assert (without_void(as_values(0, 255, 255, 0), None) == NO_CLASS).sum() == 0


def test_labels_of_other_data_sets_are_drawn_in_colors_of_their_own():
    labels = as_values(0, 15, 7, 3, kind=np.int32)
    names = [shade.name for shade in shades_of(labels)]
    assert names == ["0", "3", "7", "15"]
    assert len(np.unique(class_picture(labels).reshape(-1, 3), axis=0)) == 4
    street = [shade.name for shade in shades_of(as_values(0, 1, 2, -1, kind=np.int32))]
    assert street[-1] == "void"
    assert "0" not in street
    colored = read_labels(png(COLORS[REGIONS]), HW).values
    assert np.array_equal(class_picture(colored)[REGIONS == 1][0], COLORS[1])


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (*HW, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "a.png")
    return folder


def stats(photos, labels, tmp_path, *more):
    network, out = saved_network(tmp_path), tmp_path / f"{labels.name}.csv"
    arguments = ["stats", photos, "--network", network, "--labels", labels, "--out", out]
    words = [str(word) for word in [*arguments, "--jobs", 1, *more]]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 0, done.output
    with out.open(newline="") as file:
        return next(csv.DictReader(file)), done.stderr


def test_a_table_has_the_same_numbers_for_all_data_sets(photos, tmp_path):
    found = {}
    for name in ("streets", "Pascal VOC", "its colors", "Cityscapes' ids", "ADE20K", "16 bits"):
        data, void = DATA_SETS[name]
        folder = tmp_path / name.replace("'", "")
        folder.mkdir()
        (folder / "a.png").write_bytes(data)
        row, told = stats(photos, folder, tmp_path, *(("--void", void) if void else ()))
        found[name] = [row[column] for column in row if "category" in column or "bound" in column]
        assert "note: a.png: void label" in told or "note: a.png: labels are colors" in told
        assert row["read_as"] in told
    assert len({tuple(numbers) for numbers in found.values()}) == 1


def test_labels_are_found_by_the_names_that_data_sets_give_them(photos, tmp_path):
    (photos / "a.png").rename(photos / "x_leftImg8bit.png")
    folder = tmp_path / "city"
    folder.mkdir()
    (folder / "x_gtFine_labelIds.png").write_bytes(png(as_values(7, 24, 26, 4)))
    row, told = stats(photos, folder, tmp_path)
    assert float(row["own_category_mass"]) > 0
    assert "evaluation of Cityscapes" in told


def test_void_without_labels_is_wrong_use(photos, tmp_path):
    words = ["stats", str(photos), "--network", str(saved_network(tmp_path)), "--void", "0"]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 2
    assert "it needs --labels" in done.stderr


def test_training_reads_the_indices_of_a_palette(tmp_path):
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    Image.fromarray(NOISE).save(tmp_path / "images" / "a.png")
    (tmp_path / "labels" / "a.png").write_bytes(palette(as_values(0, 1, 2, 255)))
    ((_, labels),) = read_samples(Dataset.folder, tmp_path, "train")
    assert np.array_equal(labels, as_values(0, 1, 2, 11))
    (tmp_path / "labels" / "a.png").write_bytes(png(COLORS[REGIONS]))
    with pytest.raises(ValueError, match="holds colors"):
        list(read_samples(Dataset.folder, tmp_path, "train"))
