"""Space-only and time-only attention."""

from dataclasses import replace

import pytest
import torch

from nonlocal_lens.analysis import degeneracy, terms
from nonlocal_lens.analysis.capture import recording
from nonlocal_lens.models.blocks import NonLocalBlock, SpaceOnlyNonLocalBlock, TimeOnlyNonLocalBlock

CHANNELS, SHAPE = 6, (3, 5, 7)
RESTRICTED = (SpaceOnlyNonLocalBlock, TimeOnlyNonLocalBlock)


def make(kind, **options):
    torch.manual_seed(0)
    return kind(CHANNELS, dimension=3, init="awake", **options).double().eval()


def clip(batch=2):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, CHANNELS, *SHAPE, generator=generator, dtype=torch.float64)


@torch.no_grad()
def test_space_only_is_the_plain_block_on_every_frame():
    block, x = make(SpaceOnlyNonLocalBlock), clip()
    plain = make(NonLocalBlock)
    plain.load_state_dict(block.state_dict())
    for frame in range(SHAPE[0]):
        alone = x[:, :, frame : frame + 1]
        torch.testing.assert_close(block(x)[:, :, frame : frame + 1], plain(alone))


@torch.no_grad()
def test_time_only_is_the_plain_block_on_every_column():
    block, x = make(TimeOnlyNonLocalBlock), clip()
    plain = make(NonLocalBlock)
    plain.load_state_dict(block.state_dict())
    for row, col in ((0, 0), (2, 6), (4, 3)):
        column = (..., slice(row, row + 1), slice(col, col + 1))
        torch.testing.assert_close(block(x)[column], plain(x[column]))


@torch.no_grad()
@pytest.mark.parametrize("kind", RESTRICTED)
def test_every_part_attends_by_itself(kind):
    block, x = make(kind), clip()
    query, key, value, *_, reach = block.project(x)
    seen = reach.sees(torch.arange(query.shape[1]))
    logits = (block.scale * query @ key.mT).masked_fill(~seen, -torch.inf)
    added = block.restore(logits.softmax(dim=2) @ value, SHAPE)
    torch.testing.assert_close(block(x), x + added)


@torch.no_grad()
@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", RESTRICTED)
def test_a_recorded_row_is_zero_outside_of_the_query_s_part(kind, precision):
    block, x = make(kind).to(precision), clip(1).to(precision)
    with recording(block, (50, 70)) as records:
        block(x)
    (record,) = records
    attention = terms.attention(record, range(record.query_grid.positions))
    frames, places = SHAPE[0], SHAPE[1] * SHAPE[2]
    by_frame = attention.reshape(frames, places, frames, places).sum(dim=3)
    by_place = attention.reshape(frames, places, frames, places).sum(dim=2)
    mass = by_frame if kind is SpaceOnlyNonLocalBlock else by_place.transpose(0, 1)
    own = torch.diagonal(mass, dim1=0, dim2=2).T
    torch.testing.assert_close(own, torch.ones_like(own))
    rebuilt = attention @ block.project(x).value[0].to(attention)
    added = block.restore(rebuilt.unsqueeze(0).to(precision), SHAPE)
    torch.testing.assert_close(x + added, block(x), atol=2e-5, rtol=1e-4)


@torch.no_grad()
def test_pooled_keys_stay_in_their_frame():
    block, x = make(SpaceOnlyNonLocalBlock, subsample=True), clip()
    before = block(x)
    x[:, :, 2] += 1
    torch.testing.assert_close(block(x)[:, :, :2], before[:, :, :2])
    with pytest.raises(TypeError, match="subsample"):
        TimeOnlyNonLocalBlock(CHANNELS, subsample=True)


@torch.no_grad()
def test_an_image_is_a_clip_of_one_frame():
    x = clip()[:, :, 0]
    torch.manual_seed(0)
    space, time = (kind(CHANNELS, init="awake").double().eval() for kind in RESTRICTED)
    plain = NonLocalBlock(CHANNELS, init="awake").double().eval()
    plain.load_state_dict(space.state_dict())
    torch.testing.assert_close(space(x), plain(x))
    torch.testing.assert_close(time(x), x + time.out(time.value(x)))


@torch.no_grad()
@pytest.mark.parametrize("kind", RESTRICTED)
def test_a_key_gets_at_most_the_share_of_queries_that_see_it(kind):
    block, x = make(kind), clip(1)
    with recording(block, (50, 70)) as records:
        block(x)
    (record,) = records
    query, key = torch.ones_like(record.query), torch.zeros_like(record.key)
    key[17] = 1000  # a sink: whoever sees it gives it all
    found = degeneracy.measure(replace(record, query=query, key=key))
    seen = record.reach.sees(torch.arange(len(query)))[:, 17].double().mean().item()
    assert found.sink == 17
    assert found.sink_share == pytest.approx(seen)
    assert found.sink_rate == (seen >= 0.3)
