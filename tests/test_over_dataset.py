"""Tables of many images and networks, a training that is watched, and plots of them."""

import csv
import sys
import weakref
from importlib import import_module

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from networks import CLASSES, tiny_architecture, tiny_network
from PIL import Image
from torch import nn

from nonlocal_lens.analysis import (
    attribute,
    capture,
    compare,
    consistency,
    degeneracy,
    over_dataset,
    watch,
)
from nonlocal_lens.analysis.attribution import attributions
from nonlocal_lens.analysis.effects import effects
from nonlocal_lens.analysis.plots import (
    plot_attribution,
    plot_comparison,
    plot_effects,
    plot_row,
    plot_watch,
)
from nonlocal_lens.models.checkpoint import save_network

HW = (40, 56)


def image(seed):
    return np.random.default_rng(seed).integers(0, 256, (*HW, 3), dtype=np.uint8)


def labels(seed):
    rows = np.random.default_rng(seed).integers(0, len(CLASSES), (5, 7), dtype=np.uint8)
    return rows.repeat(8, axis=0).repeat(8, axis=1)


@pytest.fixture(scope="module")
def network():
    return tiny_network("non_local")


@pytest.fixture(scope="module")
def frame(network):
    return over_dataset(network, [image(0), (image(1), labels(1))])


def test_a_row_holds_what_measuring_its_image_gives(network, frame):
    (record,) = capture(network, image(1))
    report = degeneracy.measure(record)
    row = frame.iloc[1]
    assert row["image"] == "1"
    assert row["block"] == record.block
    for name in set(degeneracy.STATISTICS) - {"input_cosine_distance", "output_cosine_distance"}:
        exactly = pytest.approx(getattr(report, name), rel=0, abs=0, nan_ok=True)
        assert row[name] == exactly, name
    assert 0 <= row["input_cosine_distance"] <= 0.5
    assert 0 <= row["output_cosine_distance"] <= 0.5


def test_labels_add_how_attention_agrees_with_them(network, frame):
    (record,) = capture(network, image(1))
    found = consistency.measure(record, labels(1), len(CLASSES), term="pairwise")
    assert frame["pairwise_own_category_mass"].isna().tolist() == [True, False]
    assert frame["pairwise_own_category_mass"][1] == found.own_category.mass
    assert frame["boundary_chance"][1] == found.boundary.chance


def test_a_folder_is_read_in_the_order_of_names(network, frame, tmp_path):
    for name, seed in (("b.png", 1), ("a.png", 0)):
        Image.fromarray(image(seed)).save(tmp_path / name)
    found = over_dataset(network, tmp_path)
    assert found["image"].tolist() == ["a.png", "b.png"]
    columns = list(degeneracy.STATISTICS)
    pd.testing.assert_frame_equal(found[columns], frame[columns])


def test_an_iterator_is_never_held(network):
    alive = []

    def images():
        for seed in range(3):
            assert sum(ref() is not None for ref in alive) <= 2  # this one and the last
            one = image(seed)
            alive.append(weakref.ref(one))
            yield one

    assert len(over_dataset(network, images())) == 3


def test_what_cannot_be_measured_is_said(network, tmp_path):
    with pytest.raises(ValueError, match="there are no images to measure"):
        over_dataset(network, [])
    with pytest.raises(FileNotFoundError, match="there is no folder nowhere"):
        over_dataset(network, "nowhere")
    with pytest.raises(ValueError, match="Conv2d has no attention block that capture can read"):
        over_dataset(nn.Conv2d(3, 2, 1), [image(0)])


def test_compared_networks_stand_below_one_another(network, frame, tmp_path):
    save_path = tmp_path / "other.safetensors"
    save_network(save_path, tiny_network("disentangled"), tiny_architecture("disentangled"))
    images = (image(seed) for seed in (0, 1))  # read once, though there are two networks
    found = compare([network, save_path], images)
    assert found["network"].tolist() == ["SegmentationNetwork"] * 2 + ["other"] * 2
    columns = list(degeneracy.STATISTICS)
    pd.testing.assert_frame_equal(found[columns][:2], frame[columns])
    named = compare({"x": network}, [image(0)])
    assert named["network"].tolist() == ["x"]


def test_networks_need_names(network):
    with pytest.raises(ValueError, match="two networks are called 'SegmentationNetwork'"):
        compare([network, network], [image(0)])
    with pytest.raises(ValueError, match="there are no networks to compare"):
        compare([], [image(0)])


# ---------------------------------------------------------------- watching a training


def batches(count=3):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, 3, *HW, generator=generator) for _ in range(count)]


def trained(watching):
    torch.manual_seed(3)
    network = tiny_network("non_local").train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    watcher = watch(network, batches(), every=1, budget=1.0) if watching else lambda: None
    for batch in batches():
        optimizer.zero_grad()
        (network(batch).square().mean() + torch.rand(())).backward()
        optimizer.step()
        watcher()
    return network, watcher


def test_watching_changes_nothing():
    alone, _ = trained(watching=False)
    random_then = torch.rand(())
    watched, watcher = trained(watching=True)
    assert torch.equal(torch.rand(()), random_then)
    for name, value in alone.state_dict().items():
        assert torch.equal(watched.state_dict()[name], value), name
    assert all(module.training for module in watched.modules())
    assert watcher.frame["step"].tolist() == [0, 1, 2, 3]
    assert watcher.frame["unary_share"].nunique() > 1


def test_a_row_is_the_mean_over_the_images(tmp_path):
    network = tiny_network("non_local")
    loader = [(batch, "labels") for batch in batches()]
    singles = [watch(network, [batches(1)[0][place : place + 1]]) for place in (0, 1)]
    both = watch(network, loader, images=2)
    expected = np.mean([single.rows[0]["unary_share"] for single in singles])
    assert both.rows[0]["unary_share"] == pytest.approx(expected)


def test_every_row_goes_to_the_file_and_to_the_writer(tmp_path):
    class Writer(list):
        def add_scalar(self, *entry):
            self.append(entry)

    path, writer = tmp_path / "log.csv", Writer()
    path.write_text("what was there before")
    watcher = watch(
        tiny_network("non_local"),
        batches(),
        every=2,
        budget=1.0,
        csv=path,
        tensorboard=writer,
    )
    for _ in range(4):
        watcher()
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert [row["step"] for row in rows] == ["0", "2", "4"]
    assert [float(row["unary_share"]) for row in rows] == [r["unary_share"] for r in watcher.rows]
    shares = [entry for entry in writer if entry[0] == "head.block/unary_share"]
    assert [(value, step) for _, value, step in shares] == [
        (row["unary_share"], row["step"]) for row in watcher.rows
    ]


def test_measurements_wait_until_they_fit_the_budget(monkeypatch):
    module = import_module(
        "nonlocal_lens.analysis.watch"
    )  # the package has a function of this name
    now = 0.0

    def measure(self):
        nonlocal now
        now += 1
        self._last = 1.0
        self.spent += 1
        self.rows.append({"step": self.step})

    monkeypatch.setattr(module, "perf_counter", lambda: now)
    monkeypatch.setattr(module.Watch, "measure", measure)
    watcher = watch(tiny_network("non_local"), batches(), every=10, budget=0.02)
    for _ in range(200):  # a second each: one second of measuring fits every 50
        now += 1
        watcher()
        measured_once = len(watcher.rows) == 1
        assert measured_once or watcher.spent <= 0.02 * now
    assert [row["step"] for row in watcher.rows] == [0, 100, 150, 200]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"every": 0}, "every and images must be at least 1, got 0 and 1"),
        ({"budget": 0}, r"budget must be in \(0, 1\], got 0"),
        ({"images": 99}, "the loader must give at least 99 images, got 6"),
    ],
)
def test_what_cannot_be_watched_is_said(wrong, message):
    with pytest.raises(ValueError, match=message):
        watch(tiny_network("non_local"), batches(), **wrong)


def test_a_network_without_attention_cannot_be_watched():
    with pytest.raises(ValueError, match="has no attention block"):
        watch(tiny_network(), batches())


def test_tensorboard_is_named_when_it_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ImportError, match="pip install tensorboard"):
        watch(tiny_network("non_local"), batches(), tensorboard=tmp_path)


# ---------------------------------------------------------------- plots


def test_attribute_is_attributions():
    assert attribute is attributions


def test_plots_draw_on_what_they_are_given_and_leave_pyplot_alone(network, frame):
    figure = Figure()
    (record,) = capture(network, image(0))
    _, found = attribute(network, image(0), 3, methods=("saliency",))
    watcher = watch(network, batches())
    plots = [
        lambda ax: plot_comparison(frame.assign(network="n"), "cosine_distance", ax=ax),
        lambda ax: plot_watch(watcher.frame, "unary_share", ax=ax),
        lambda ax: plot_effects(effects(network, image(0)), ax=ax),
        lambda ax: plot_row(record, 3, "pairwise", ax=ax),
        lambda ax: plot_attribution(record, found[0], ax=ax),
    ]
    for place, plot in enumerate(plots):
        given = figure.add_subplot(2, 3, place + 1)
        assert plot(given) is given
        fresh = plot(None)
        assert isinstance(fresh, Axes)
        assert fresh.figure._repr_png_().startswith(b"\x89PNG")
    figure.canvas.draw()
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or not pyplot.get_fignums()


def test_a_bar_is_the_mean_of_its_dots(frame):
    ax = plot_comparison(frame, "unary_share")
    assert ax.patches[0].get_height() == pytest.approx(frame["unary_share"].mean())
    assert ax.get_ylabel() == "Unary share"
    with pytest.raises(
        ValueError, match=r"unknown statistic 'beauty'; available: selectivity_bits"
    ):
        plot_comparison(frame, "beauty")
