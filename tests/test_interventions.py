import pytest
import torch
from networks import tiny_network

from analysis import streaming, terms
from analysis.capture import attention_blocks, record_of
from analysis.interventions import INTERVENTIONS, intervene
from models.networks.architecture import BLOCKS


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


@pytest.mark.parametrize("how", [how for how in INTERVENTIONS if how != "off"])
def test_a_block_attends_as_the_intervention_says(block, how):
    x = torch.randn(2, 6, 5, 7, dtype=torch.float64)
    with intervene(block, how):
        changed = block(x)
    for image, output in zip(x.split(1), changed, strict=True):
        projections = block.project(image)
        rows = expected_rows(record_of("", block, projections, (40, 56)), how)
        added = block.restore((rows @ projections.value[0])[None], (5, 7))
        torch.testing.assert_close(output, (image + added)[0], atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("how", ["unary_only", "pairwise_only"])
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
            with intervene(network, how):
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
