import pytest
import torch
from networks import tiny_network
from torch import nn

from nonlocal_lens.analysis import interventions, streaming, terms
from nonlocal_lens.analysis.capture import attention_blocks, record_of
from nonlocal_lens.analysis.interventions import INTERVENTIONS, intervene
from nonlocal_lens.models.blocks import AttentionBlock, Reach
from nonlocal_lens.models.networks.architecture import BLOCKS


def expected_rows(record, how):
    """Return the whole matrix of attention that a block should use, straight from its terms."""
    queries = range(record.query_grid.positions)
    whole = terms.attention(record, queries)
    return {
        "on": whole,
        "mean_row": whole.mean(dim=0).expand_as(whole),
        "uniform": whole.mean(dim=1, keepdim=True).expand_as(whole),
        "unary_only": terms.attention(record, queries, "unary"),
        "pairwise_only": terms.attention(record, queries, "pairwise"),
    }[how]


@pytest.fixture(params=BLOCKS)
def block(request):
    """Return every kind of block, on its own."""
    torch.manual_seed(0)
    options = {"dimension": 2, "init": "awake"}
    return BLOCKS[request.param](6, **options).double().eval().requires_grad_(False)


NAMED = ("on", "mean_row", "uniform", "unary_only", "pairwise_only")


@pytest.mark.parametrize("how", NAMED)
def test_a_block_attends_as_the_intervention_says(block, how):
    x = torch.randn(2, 6, 5, 7, dtype=torch.float64)
    with intervene(block, how):
        changed = block(x)
    for image, output in zip(x.split(1), changed, strict=True):
        projections = block.project(image)
        rows = expected_rows(record_of("", block, projections, (40, 56)), how)
        added = block.restore((rows @ projections.value[0])[None], (5, 7))
        torch.testing.assert_close(output, (image + added)[0], atol=1e-10, rtol=1e-10)


def test_a_block_attends_as_it_does_in_another_image(block):
    x, other = torch.randn(2, 6, 5, 7, dtype=torch.float64), torch.randn(1, 6, 5, 7).double()
    with intervene(block, "another_image", another=lambda: block(other)):
        changed = block(x)
    projections = block.project(other)
    rows = expected_rows(record_of("", block, projections, (40, 56)), "on")
    for image, output in zip(x.split(1), changed, strict=True):
        added = block.restore((rows @ block.project(image).value[0])[None], (5, 7))
        torch.testing.assert_close(output, (image + added)[0], atol=1e-10, rtol=1e-10)
    with intervene(block, "another_image", another=lambda: block(x[:1])):
        torch.testing.assert_close(block(x[:1]), block(x[:1]))


def test_the_same_image_as_the_other_one_changes_no_bit(block):
    x = torch.randn(1, 6, 5, 7, dtype=torch.float64)
    own = block(x)
    with intervene(block, "another_image", another=lambda: block(x)):
        same = block(x)
    if type(block).forward is AttentionBlock.forward:
        assert torch.equal(same, own)
    else:  # one that computes its output in another order
        torch.testing.assert_close(same, own)


def test_noise_keeps_sum_and_entropy_of_every_row_and_says_nothing_of_where(block, monkeypatch):
    kept = []
    by_lot = interventions._by_lot

    def spy(rows, *others):
        kept.append((rows, by_lot(rows, *others)))
        return kept[-1][1]

    monkeypatch.setattr(interventions, "_by_lot", spy)
    x = torch.randn(1, 6, 5, 7, dtype=torch.float64)
    with intervene(block, "noise"):
        changed = block(x)
    rows, drawn = (torch.cat(one) for one in zip(*kept, strict=True))
    torch.testing.assert_close(rows.sort(dim=1).values, drawn.sort(dim=1).values)
    flat = torch.allclose(rows, rows[:, :1].expand_as(rows))
    alone = (rows > 0).sum(dim=1).max() == 1  # a picture has no time to look along
    assert flat or alone or not torch.allclose(rows, drawn)
    added = block.restore((drawn @ block.project(x).value[0])[None], (5, 7))
    torch.testing.assert_close(changed, x + added, atol=1e-10, rtol=1e-10)


def test_noise_draws_every_key_alike():
    rows = torch.zeros(4000, 7)
    rows[:, 0] = 1
    order = torch.randperm(7, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    drawn = interventions._by_lot(rows, None, torch.arange(4000), order, generator)
    assert (drawn.mean(dim=0) - 1 / 7).abs().max() < 0.02
    reach = Reach("part", torch.zeros(4000, 1).long(), torch.tensor([0, 0, 1, 0, 0, 1, 0])[:, None])
    drawn = interventions._by_lot(rows, reach, torch.arange(4000), order, generator)
    assert drawn[:, [2, 5]].sum() == 0
    assert (drawn.mean(dim=0)[[0, 1, 3, 4, 6]] - 1 / 5).abs().max() < 0.02


def test_blocks_are_changed_where_it_is_said():
    network = nn.Sequential(*(BLOCKS["non_local"](6, init="awake") for _ in range(2))).eval()
    x = torch.randn(1, 6, 5, 7)
    with torch.no_grad():
        with intervene(network, "off", where=[("1", None)]):
            assert torch.equal(network(x), network[0](x))
        with intervene(network, "off", where=[("0", None), ("1", 0)]):
            assert torch.equal(network(x), x)
    for where, sentence in (("2", None), "unknown block '2'; available: 0, 1"), (("1", 3), "heads"):
        with pytest.raises(ValueError, match=sentence), intervene(network, "off", where=[where]):
            pass


def test_another_image_must_be_given_and_be_as_large(block):
    with pytest.raises(ValueError, match="another image"), intervene(block, "another_image"):
        pass
    x, larger = torch.randn(1, 6, 5, 7).double(), torch.randn(1, 6, 5, 11).double()
    with (
        pytest.raises(ValueError, match="must have as many places"),
        intervene(block, "another_image", another=lambda: block(larger)),
    ):
        block(x)


@pytest.mark.parametrize("how", ["unary_only", "pairwise_only", "noise"])
def test_terms_are_the_same_in_chunks_of_one_query(block, how, monkeypatch):
    x = torch.randn(1, 6, 5, 7, dtype=torch.float64)
    with intervene(block, how):
        at_once = block(x)
        monkeypatch.setattr(streaming, "CHUNK_VALUES", 1)
        torch.testing.assert_close(block(x), at_once)


def test_the_two_terms_of_a_disentangled_block_add_up_to_what_it_does():
    torch.manual_seed(0)
    block = BLOCKS["disentangled"](6, init="awake", batch_norm=False).double().requires_grad_(False)
    x = torch.randn(1, 6, 5, 7, dtype=torch.float64)
    zero = block.out[0](torch.zeros(1, block.value.out_channels, 1, 1, dtype=torch.float64))
    added = {}
    for how in ("on", "unary_only", "pairwise_only"):
        with intervene(block, how):
            added[how] = block(x) - x - zero
    torch.testing.assert_close(added["unary_only"] + added["pairwise_only"], added["on"])


@pytest.mark.parametrize("name", BLOCKS)
def test_on_changes_no_bit_and_every_change_is_undone(name):
    network = tiny_network(name)
    x = torch.randn(1, 3, 64, 72)
    attributes = {block: set(vars(block)) for block in attention_blocks(network).values()}
    with torch.no_grad():
        before = network(x)
        for how in INTERVENTIONS:
            with intervene(network, how, another=lambda: network(x.flip(3))):
                unchanged = torch.equal(network(x), before)
            if how in ("on", "off"):  # the others change what only some blocks have
                assert unchanged == (how == "on")
            assert torch.equal(network(x), before), how
    assert attributes == {block: set(vars(block)) for block in attributes}


def test_a_block_that_is_off_adds_nothing():
    network = tiny_network("disentangled")
    network_without = tiny_network()
    network_without.load_state_dict(network.state_dict(), strict=False)
    x = torch.randn(1, 3, 64, 72)
    with torch.no_grad(), intervene(network, "off"):
        assert torch.equal(network(x), network_without(x))


def fail_unless_changed(output, before):
    raise AssertionError("unchanged") if torch.equal(output, before) else RuntimeError("boom")


def test_the_network_comes_back_after_an_exception_and_out_of_a_nested_change():
    network = tiny_network("non_local")
    x = torch.randn(1, 3, 64, 72)
    with torch.no_grad():
        before = network(x)
        with intervene(network, "mean_row"):
            mean_row = network(x)
            with pytest.raises(RuntimeError, match="boom"), intervene(network, "uniform"):
                fail_unless_changed(network(x), mean_row)
            assert torch.equal(network(x), mean_row)
        assert torch.equal(network(x), before)


def test_an_unknown_intervention_is_refused_by_name(as_users_run):
    with (
        pytest.raises(ValueError, match="unknown intervention 'nothing'; available: on, off, mean"),
        intervene(tiny_network("non_local"), "nothing"),
    ):
        pass
