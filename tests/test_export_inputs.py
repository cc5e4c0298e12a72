import numpy as np
import pytest
from PIL import Image

from nonlocal_lens.app.batch.inputs import MOST_NAME_BYTES, find_sources, read_source, safe_name
from nonlocal_lens.app.pictures import SAMPLES


def picture(path, size=(24, 16)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, "red").save(path)
    return path


def names(*inputs):
    return [source.name for source in find_sources(inputs)]


def test_folders_and_globs_are_in_natural_order_and_nothing_comes_twice(tmp_path):
    for name in ("img10.png", "img2.png", "img1.PNG", "deep/img3.jpg"):
        picture(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    assert names(str(tmp_path)) == ["img1", "img2", "img10"]
    assert names(str(tmp_path / "**" / "img?.*")) == ["img3", "img1", "img2"]
    assert names(str(tmp_path / "img2.png"), str(tmp_path)) == ["img2", "img1", "img10"]


def test_names_that_differ_in_no_way_a_file_system_sees_get_numbers(tmp_path):
    for folder in ("a", "b", "c"):
        picture(tmp_path / folder / ("Same.png" if folder == "b" else "same.png"))
    picture(tmp_path / "d" / "same-2.png")
    assert names(*(str(tmp_path / folder) for folder in "abcd")) == [
        "same",
        "Same-2",
        "same-3",
        "same-2-2",
    ]


def test_brackets_in_a_file_name_are_no_glob(tmp_path):
    picture(tmp_path / "img[1].png")
    assert names(str(tmp_path / "img[1].png")) == ["img_1"]


@pytest.mark.parametrize(
    ("hostile", "name"),
    [
        ("../../etc/passwd", "etc_passwd"),
        ("-rf", "rf"),
        ("a\nb\x00c", "a_b_c"),
        ("", "input"),
        ("....", "input"),
        ("$(reboot); `x`", "reboot_x"),
        ("Straße 7", "Straße_7"),
        ("\udcff", "input"),
    ],
)
def test_hostile_names_become_harmless(hostile, name):
    assert safe_name(hostile) == name


def test_long_names_fit_into_a_file_system():
    assert len(safe_name("ü" * 500).encode()) <= MOST_NAME_BYTES


def test_samples_and_rendered_streets_need_no_files():
    assert names("samples") == list(SAMPLES)
    assert names("samples:coffee", "rendered:3-5") == [
        "coffee",
        "rendered_3",
        "rendered_4",
        "rendered_5",
    ]
    scene = read_source("rendered:3")
    assert scene.labels.shape == scene.image.shape[:2]
    assert read_source("samples:coffee").sha256 == read_source("samples:coffee").sha256


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("nowhere.png", "there is no input 'nowhere.png': it must be a file, a folder, a glob"),
        ("samples:lena", "unknown sample 'lena'; available: motorcycle"),
        ("rendered:-1", "rendered inputs are rendered:SEED or rendered:FIRST-LAST"),
        ("rendered:5-3", "rendered inputs are"),
    ],
)
def test_inputs_that_are_not_there_are_named(text, sentence):
    with pytest.raises(ValueError, match=sentence):
        find_sources([text])


def test_an_empty_folder_is_said_to_be_empty(tmp_path):
    with pytest.raises(ValueError, match="there is no image"):
        find_sources([str(tmp_path)])


def test_labels_are_read_from_their_folder_and_must_fit(tmp_path):
    path = picture(tmp_path / "street.jpg")
    folder = tmp_path / "labels"
    folder.mkdir()
    labels = np.arange(24 * 16, dtype=np.uint8).reshape(16, 24) % 12
    Image.fromarray(labels).save(folder / "street.png")
    np.testing.assert_array_equal(read_source(str(path), str(folder)).labels, labels)
    Image.fromarray(labels[:5]).save(folder / "street.png")
    with pytest.raises(ValueError, match=r"must be 8-bit class indices of the image's"):
        read_source(str(path), str(folder))
    (folder / "street.png").unlink()
    with pytest.raises(ValueError, match="there are no labels"):
        read_source(str(path), str(folder))
