from dataclasses import replace

import numpy as np
import pytest
import torch
from networks import tiny_network
from records import KEYS, random_record

from nonlocal_lens.analysis.capture import capture
from nonlocal_lens.analysis.image_independence import UnaryMaps, image_independence


def of_maps(maps, generator):
    """Return what is said of learned unary logits, one vector for each image."""
    found = UnaryMaps()
    record = random_record(generator, "disentangled")
    for logits in maps:
        found.add(replace(record, unary=torch.as_tensor(logits, dtype=torch.float64)))
    return found.independence()


def test_the_same_map_for_every_image_has_all_of_it_and_constants_do_not_matter(generator):
    one = torch.randn(KEYS, generator=generator, dtype=torch.float64)
    found = of_maps([one, one + 3, one - 100], generator)
    assert found.share == pytest.approx(1)
    assert (found.low, found.high) == pytest.approx((1, 1))
    assert found.images == 3


def test_maps_with_nothing_in_common_have_one_part_in_as_many(generator):
    maps = torch.eye(KEYS, dtype=torch.float64)[:7]
    maps = torch.linalg.qr((maps - maps.mean(dim=1, keepdim=True)).T).Q.T  # orthogonal, mean 0
    found = of_maps(maps, generator)
    assert found.share == pytest.approx(1 / 7)
    assert found.chance == 1 / 7


def test_the_share_is_the_one_of_the_analysis_of_variance(generator):
    maps = torch.randn(5, KEYS, generator=generator, dtype=torch.float64)
    maps = maps + torch.randn(KEYS, generator=generator, dtype=torch.float64)
    centered = (maps - maps.mean(dim=1, keepdim=True)).numpy()
    expected = 5 * np.square(centered.mean(axis=0)).sum() / np.square(centered).sum()
    found = of_maps(maps, generator)
    assert found.share == pytest.approx(expected, rel=1e-5)
    # the jackknife, an image after another left out
    without = []
    for image in range(5):
        rest = np.delete(centered, image, axis=0)
        without.append(4 * np.square(rest.mean(axis=0)).sum() / np.square(rest).sum())
    error = (np.square(without - np.mean(without)).sum() * 4 / 5) ** 0.5
    assert found.low == pytest.approx(max(expected - 1.96 * error, 0), abs=1e-4)
    assert found.high == pytest.approx(min(expected + 1.96 * error, 1), abs=1e-4)


def test_flat_maps_and_single_images_have_no_share(generator):
    assert np.isnan(of_maps([torch.ones(KEYS)] * 3, generator).share)
    assert np.isnan(of_maps([torch.randn(KEYS)], generator).share)


def test_images_of_two_sizes_are_refused_by_their_numbers_of_keys(generator):
    maps = UnaryMaps()
    record = random_record(generator, "disentangled")
    maps.add(record)
    fewer = replace(
        record,
        key=record.key[:7],
        unary=record.unary[:7],
        key_grid=replace(record.key_grid, height=1, width=7),
    )
    with pytest.raises(ValueError, match=r"33 and 7 keys: only images of one size"):
        maps.add(fewer)


def test_a_network_gives_a_row_for_each_block_and_its_maps_are_those_of_its_records():
    network = tiny_network("disentangled")
    draw = np.random.default_rng(0)
    images = [draw.integers(0, 256, (40, 56, 3), dtype=np.uint8) for _ in range(3)]
    frame = image_independence(network, images)
    assert frame.columns.tolist() == [
        *("block", "call", "head", "image_independence", "low", "high", "chance", "images")
    ]
    logits = np.stack([capture(network, image)[0].unary.numpy() for image in images])
    logits = logits - logits.mean(axis=1, keepdims=True)
    expected = 3 * np.square(logits.mean(axis=0)).sum() / np.square(logits).sum()
    assert frame["image_independence"][0] == pytest.approx(expected, rel=1e-4)
    with pytest.raises(ValueError, match="there are no images to measure"):
        image_independence(network, [])
