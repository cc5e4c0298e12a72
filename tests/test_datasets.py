import numpy as np
import pytest
from PIL import Image

from nonlocal_lens.analysis.datasets import SAME_CLASS, Source, places, read_labeled
from nonlocal_lens.streets.classes import STREET_CLASSES

STREETS = tuple(STREET_CLASSES)
IMAGE = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)


def write(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def cityscapes(tmp_path):
    """Return the root of two cities; the first image holds every kind of label."""
    labels = np.zeros((5, 7), np.uint8)
    labels[0] = [7, 8, 11, 12, 17, 19, 20]  # road, sidewalk, building, wall, pole, light, sign
    labels[1] = [
        21,
        23,
        24,
        25,
        26,
        33,
        22,
    ]  # tree, sky, person, rider, car, bicycle, terrain
    for number, city in enumerate(("aachen", "ulm")):
        name = f"{city}_000000_000019"
        write(tmp_path / f"leftImg8bit/val/{city}/{name}_leftImg8bit.png", IMAGE + number)
        write(tmp_path / f"gtFine/val/{city}/{name}_gtFine_labelIds.png", labels * (1 - number))
    return tmp_path


def test_cityscapes_labels_become_those_of_street_networks(cityscapes):
    (image, labels), (other, void) = read_labeled(Source.cityscapes, cityscapes, "val", STREETS)
    np.testing.assert_array_equal(image, IMAGE)
    np.testing.assert_array_equal(other, IMAGE + 1)
    names = [*STREETS, "void"]
    assert [names[value] for value in labels[0]] == (
        ["road", "pavement", "building", "building", "pole", "sign", "sign"]
    )
    assert [names[value] for value in labels[1]] == (
        ["tree", "sky", "pedestrian", "bicyclist", "car", "bicyclist", "void"]
    )
    assert (labels[2:] == len(STREETS)).all()
    assert (void == len(STREETS)).all()


def test_a_network_that_tells_more_classes_apart_gets_them(cityscapes):
    own = ("person", "rider", "pedestrian")
    _, labels = next(read_labeled(Source.cityscapes, cityscapes, "val", own))
    assert labels[1, 2:5].tolist() == [0, 1, 3]


def test_voc_labels_are_palette_indices_and_outlines_are_void(tmp_path):
    folder = tmp_path / "VOCdevkit/VOC2012"
    labels = Image.fromarray(np.array([[0, 7, 15], [255, 2, 6]], np.uint8), "L").convert("P")
    labels.putdata([0, 7, 15, 255, 2, 6])
    (folder / "SegmentationClass").mkdir(parents=True)
    labels.save(folder / "SegmentationClass/2007_000033.png")
    write(folder / "JPEGImages/2007_000033.jpg", np.zeros((2, 3, 3), np.uint8))
    (folder / "ImageSets/Segmentation").mkdir(parents=True)
    (folder / "ImageSets/Segmentation/val.txt").write_text("2007_000033\n")
    ((image, found),) = read_labeled(Source.voc, tmp_path, "val", ("car", "person"))
    assert image.shape == (2, 3, 3)
    assert found.tolist() == [[2, 0, 1], [2, 2, 0]]  # a bus is a car where there is no bus
    with pytest.raises(ValueError, match=r"is no VOC folder: .*Segmentation/train\.txt"):
        list(read_labeled(Source.voc, tmp_path, "train", STREETS))


def test_folders_are_read_as_they_are(tmp_path):
    labels = np.array([[0, 10, 11], [200, 5, 1]], np.uint8)
    write(tmp_path / "val/images/a.png", IMAGE[:2, :3])
    write(tmp_path / "val/labels/a.png", labels)
    ((image, found),) = read_labeled(Source.camvid, tmp_path, "val", STREETS)
    np.testing.assert_array_equal(image, IMAGE[:2, :3])
    assert found.tolist() == [[0, 10, 11], [11, 5, 1]], "all from 11 on is void"


def test_rendered_scenes_need_no_folder():
    image, labels = next(read_labeled(Source.rendered, None, "val", STREETS))
    assert image.shape[:2] == labels.shape
    assert labels.max() <= len(STREETS)


def test_synonyms_lead_to_street_classes():
    assert set(SAME_CLASS.values()) <= set(STREETS)


@pytest.mark.parametrize("source", [Source.cityscapes, Source.voc])
def test_a_missing_folder_is_named(tmp_path, source):
    with pytest.raises(ValueError, match=f"{tmp_path} is no .* folder: it must hold"):
        list(read_labeled(source, tmp_path, "val", STREETS))
    with pytest.raises(ValueError, match=f"data '{source}' needs a root folder"):
        list(read_labeled(source, None, "val", STREETS))
    with pytest.raises(ValueError, match="night"):
        list(read_labeled(source, tmp_path, "night", STREETS))


def test_classes_without_a_match_are_refused():
    with pytest.raises(ValueError, match="it knows sofa; the labels are sky, tree"):
        places({0: "sky", 1: "tree"}, ("sofa",))
