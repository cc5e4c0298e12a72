import pytest
import torch

from analysis import terms
from analysis.capture import recording
from models.blocks import DisentangledNonLocalBlock, NonLocalBlock
from models.blocks.attend import attend
from models.blocks.disentangled import whiten

BLOCKS = {"non_local": NonLocalBlock, "disentangled": DisentangledNonLocalBlock}
CHANNELS = 10
GRIDS = {1: (13,), 2: (5, 7), 3: (2, 5, 7)}


def make(form, generator, **options):
    """Return an awake block in evaluation mode with every weight random, in float64."""
    block = BLOCKS[form](CHANNELS, **{"init": "awake", **options}).double().eval()
    with torch.no_grad():
        for tensor in [*block.parameters(), *block.buffers()]:
            if tensor.is_floating_point():
                tensor.copy_(
                    torch.rand(tensor.shape, generator=generator, dtype=torch.float64) + 0.1
                )
    return block


def draw(generator, dimension, batch=1):
    return torch.randn(batch, CHANNELS, *GRIDS[dimension], generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize("subsample", [False, True])
@pytest.mark.parametrize("dimension", [1, 2, 3])
@pytest.mark.parametrize("form", BLOCKS)
def test_attention_rebuilt_from_the_record_gives_the_blocks_output(
    generator, form, dimension, subsample, batch_norm
):
    block = make(form, generator, dimension=dimension, subsample=subsample, batch_norm=batch_norm)
    x = draw(generator, dimension)
    with recording(block, (40, 56)) as records:
        output = block(x)

    (record,) = records
    projections = block.project(x)
    attention = terms.attention(record, range(record.query_grid.positions))
    rebuilt = x + block.restore(attention @ projections.value, projections.query_shape)

    assert (rebuilt - output).abs().max() < 1e-12
    assert (output - x).abs().max() > 1e-3, "the block does something"


@pytest.mark.parametrize("form", BLOCKS)
def test_the_same_holds_in_single_precision(generator, form):
    block = make(form, generator, dimension=2).float()
    x = draw(generator, 2).float()
    with recording(block, (40, 56)) as records:
        output = block(x)
    attention = terms.attention(records[0], range(35))
    rebuilt = x + block.restore(attention @ block.project(x).value, (5, 7))
    assert (rebuilt - output).abs().max() / output.abs().max() < 1e-5


@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize("form", BLOCKS)
def test_an_inserted_block_changes_nothing(generator, form, batch_norm):
    block = BLOCKS[form](CHANNELS, batch_norm=batch_norm).double().eval()
    x = draw(generator, 2)
    assert torch.equal(block(x), x)


@pytest.mark.parametrize("form", BLOCKS)
def test_an_awake_block_starts_as_similarity_of_features_with_a_gain_of_one(form):
    torch.manual_seed(0)
    block = BLOCKS[form](512, init="awake")
    assert block.query.weight.std().item() == pytest.approx(0.05, rel=0.02)
    assert torch.equal(block.key.weight, block.query.weight)
    assert block.key.weight is not block.query.weight, "training may part them"
    assert block.out[1].weight.unique().tolist() == [1.0]
    if form == "disentangled":
        assert block.mask.weight.std().item() == pytest.approx(0.01, rel=0.1)


def test_the_disentangled_block_is_the_papers_formula(generator):
    block = make("disentangled", generator, temperature=0.5)
    query, key, value, unary, *_ = block.project(draw(generator, 2))
    logits = (query - query.mean(1, keepdim=True)) @ (key - key.mean(1, keepdim=True)).transpose(
        1, 2
    )
    pairwise = (logits / (5**0.5 * 0.5)).softmax(dim=2)
    expected = (pairwise + unary.softmax(dim=1)[:, None]) @ value
    assert (block.aggregate(block.project(draw(generator, 2))).shape) == expected.shape
    projections = block.project(torch.zeros(1, CHANNELS, 5, 7, dtype=torch.float64))._replace(
        query=query, key=key, value=value, unary=unary
    )
    assert (block.aggregate(projections) - expected).abs().max() < 1e-12


def test_keys_are_pooled_in_space_and_never_in_time(generator):
    block = make("non_local", generator, dimension=3, subsample=True)
    projections = block.project(draw(generator, 3))
    assert projections.query_shape == (2, 5, 7)
    assert projections.key_shape == (2, 2, 3)
    assert projections.value.shape == (1, 12, 5)


def test_the_scale_is_the_authors_unless_given():
    assert NonLocalBlock(CHANNELS).scale == pytest.approx(5**-0.5)
    assert NonLocalBlock(CHANNELS, scale=1.0).scale == 1.0
    assert DisentangledNonLocalBlock(512, temperature=0.05).scale == pytest.approx(1.25)


def test_whitening_leaves_its_argument_alone(generator):
    x = torch.randn(1, 7, 3, generator=generator)
    before = x.clone()
    assert whiten(x).mean(dim=1).abs().max() < 1e-6
    assert torch.equal(x, before)


@pytest.mark.parametrize("widths", [(3, 3), (3, 11), (11, 3)], ids=str)
def test_attend_is_softmax_attention_for_all_widths(generator, widths):
    channels, value_channels = widths
    query, key = (torch.randn(2, n, channels, generator=generator).double() for n in (5, 7))
    value = torch.randn(2, 7, value_channels, generator=generator).double()
    expected = (0.7 * query @ key.transpose(1, 2)).softmax(dim=2) @ value
    assert (attend(query, key, value, scale=0.7) - expected).abs().max() < 1e-12


@pytest.mark.parametrize("form", BLOCKS)
@pytest.mark.parametrize("inner", [32, 128], ids=["narrow", "wide"])
def test_evaluation_never_builds_the_attention_matrix(form, inner):
    positions = 64 * 64
    block = BLOCKS[form](64, inner_channels=inner, init="awake").eval()
    x = torch.randn(1, 64, 64, 64)
    with (
        torch.no_grad(),
        torch.profiler.profile(
            activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
        ) as profile,
    ):
        block(x)
    largest = max(event.cpu_memory_usage for event in profile.events())
    matrix_bytes = positions * positions * 4
    assert largest < matrix_bytes / 4, f"{largest / 1e6:.0f} MB in one operation"


def test_the_profiler_would_have_seen_the_matrix():
    query = torch.randn(1, 4096, 32)
    with (
        torch.no_grad(),
        torch.profiler.profile(
            activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
        ) as profile,
    ):
        (query @ query.transpose(1, 2)).softmax(dim=2) @ query
    assert max(event.cpu_memory_usage for event in profile.events()) >= 4096 * 4096 * 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dimension": 4}, "dimension must be one of 1, 2, 3, got 4"),
        ({"init": "asleep"}, "init must be 'identity' or 'awake', got 'asleep'"),
    ],
)
@pytest.mark.usefixtures("as_users_run")
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        NonLocalBlock(CHANNELS, **options)


def test_a_temperature_must_be_positive():
    with pytest.raises(ValueError, match="temperature must be above 0, got 0"):
        DisentangledNonLocalBlock(CHANNELS, temperature=0.0)
