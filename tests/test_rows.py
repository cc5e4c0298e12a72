"""One column has one name: in the command's table, in a survey's, in that of a data set."""

import json
from dataclasses import replace

import numpy as np
import pytest
from networks import tiny_architecture
from PIL import Image

from nonlocal_lens.analysis import degeneracy, over_dataset
from nonlocal_lens.analysis.tables.rows import NUMBERS, WITH_BASELINES, label_columns
from nonlocal_lens.app.pictures import Picture
from nonlocal_lens.app.stats.columns import columns
from nonlocal_lens.app.stats.options import Options
from nonlocal_lens.app.stats.run import measure_all
from nonlocal_lens.app.survey.measure import measure
from nonlocal_lens.models import load_network
from nonlocal_lens.models.checkpoint import save_network
from nonlocal_lens.models.networks.architecture import build_network
from nonlocal_lens.streets.classes import STREET_CLASSES


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Return the row of one labeled image in three tables: by command, survey and data set."""
    folder = tmp_path_factory.mktemp("rows")
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (40, 56, 3), dtype=np.uint8)
    labels = rng.integers(0, len(STREET_CLASSES), (5, 7), dtype=np.uint8)
    labels = labels.repeat(8, axis=0).repeat(8, axis=1)
    Image.fromarray(image).save(folder / "a.png")
    (folder / "labels").mkdir()
    Image.fromarray(labels).save(folder / "labels" / "a.png")
    architecture = replace(tiny_architecture("non_local"), classes=tuple(STREET_CLASSES))
    save_network(folder / "net.safetensors", build_network(architecture).eval(), architecture)
    asked = Options(
        inputs=(str(folder / "a.png"),),
        networks=(str(folder / "net.safetensors"),),
        labels=str(folder / "labels"),
        baselines=True,
    )
    measure_all(asked, folder / "out.json", jobs=1)
    (command,) = json.loads((folder / "out.json").read_text())
    network = load_network(folder / "net.safetensors")
    picture = Picture("a", image, "a", "a.png", labels)
    (survey,), *_ = measure("net", network, picture, tuple(STREET_CLASSES))
    (dataset,) = over_dataset(network, [(image, labels)]).to_dict("records")
    return {"command": command, "survey": survey, "dataset": dataset, "asked": asked}


def test_what_has_one_name_has_one_value(tables):
    command = tables["command"]
    for other in ("survey", "dataset"):
        shared = tables[other].keys() & command.keys()
        assert {*degeneracy.STATISTICS, *label_columns(), "block", "head"} <= shared
        for name in shared - {"input", "network", "head"}:
            value = tables[other][name]
            if command[name] is None:
                assert value is None or value != value, name
            elif isinstance(value, str):
                assert value == command[name]
            else:
                assert value == pytest.approx(command[name], rel=1e-6), name


def test_what_is_measured_has_no_second_name(tables):
    """Names that only one table has say where a row is from, not what was measured."""
    known = {column.name for column in columns(tables["asked"])}
    assert tables["survey"].keys() - known == {"miou"}
    assert tables["dataset"].keys() - known == {"image"}


def test_the_statistics_with_baselines_are_those_that_a_report_has(generator):
    from records import random_record

    assert set(WITH_BASELINES) == set(degeneracy.measure(random_record(generator)).baselines)
    assert set(degeneracy.STATISTICS) <= set(NUMBERS)
