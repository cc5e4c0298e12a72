import numpy as np
import pytest
from records import random_record

from nonlocal_lens.analysis import degeneracy
from nonlocal_lens.analysis.figures import Look
from nonlocal_lens.analysis.figures.bars import bar_of, statistics_figure


def test_a_bar_is_the_mean_and_its_interval_shrinks_with_the_square_root_of_images():
    draws = np.random.default_rng(1).normal(5, 2, 400)
    few, many = bar_of(draws[:100].tolist()), bar_of(draws.tolist())
    assert many.mean == pytest.approx(draws.mean())
    assert many.low < many.mean < many.high
    assert many.high - many.low == pytest.approx(2 * 1.96 * 2 / 20, rel=0.15)
    assert (few.high - few.low) / (many.high - many.low) == pytest.approx(2, rel=0.25)
    assert bar_of(draws.tolist()) == many, "seeded"


def test_one_image_has_no_interval_and_undefined_values_are_left_out():
    bar = bar_of([3.0, float("nan")])
    assert (bar.mean, bar.images) == (3.0, 1)
    assert np.isnan([bar.low, bar.high]).all()
    assert bar_of([float("nan")]).images == 0


def test_every_statistic_is_drawn_with_a_bar_per_network(generator):
    reports = {
        name: [degeneracy.measure(random_record(generator, name)) for _ in range(3)]
        for name in ("coupled", "disentangled")
    }
    bars = {
        statistic: {
            network: bar_of([getattr(report, statistic) for report in of_network])
            for network, of_network in reports.items()
        }
        for statistic in degeneracy.STATISTICS
    }
    figure = statistics_figure(bars, look=Look(dpi=60))
    assert len(figure.axes) == len(degeneracy.STATISTICS)
    expected = np.mean([report.cosine_distance for report in reports["disentangled"]])
    index = list(degeneracy.STATISTICS).index("cosine_distance")
    assert figure.axes[index].patches[1].get_height() == pytest.approx(expected)
    words = [text.get_text() for text in figure.texts]
    assert any(text.startswith("Means over 3 images") for text in words)
    figure.canvas.draw()


def test_statistics_of_nothing_are_refused():
    with pytest.raises(ValueError, match="at least one statistic of one network"):
        statistics_figure({})
