from inspect import signature

import pytest
import torch
from torch.nn.functional import max_pool2d

from nonlocal_lens.analysis import terms
from nonlocal_lens.analysis.capture import recording
from nonlocal_lens.analysis.forms import FORMS
from nonlocal_lens.models.blocks import (
    AttentionBlock,
    ConcatenationNonLocalBlock,
    DisentangledNonLocalBlock,
    GlobalContextBlock,
    NonLocalBlock,
)
from nonlocal_lens.models.blocks.attend import (
    attend,
    average_by_dot_product,
    average_by_rectified_sum,
)
from nonlocal_lens.models.blocks.disentangled import whiten
from nonlocal_lens.models.networks.architecture import BLOCKS

CHANNELS = 10
GRIDS = {1: (13,), 2: (5, 7), 3: (2, 5, 7)}

SAMPLING = {
    "every key": {},
    "pooled after": {"subsample": True},
    "pooled before": {"subsample": True, "pool_order": "before"},
}


def accepts(name, option):
    """Return whether a block has an option; `inspect` sees through no inherited constructor."""
    constructor = next(cls for cls in BLOCKS[name].__mro__ if "__init__" in vars(cls))
    return option in signature(constructor.__init__).parameters


def with_option(option):
    return [name for name in BLOCKS if accepts(name, option)]


def make(name, generator, **options):
    """Return an awake block in evaluation mode with every weight random, in float64."""
    block = BLOCKS[name](CHANNELS, **{"init": "awake", **options}).double().eval()
    with torch.no_grad():
        for key, tensor in block.state_dict().items():
            if tensor.is_floating_point():
                draw = torch.rand(tensor.shape, generator=generator, dtype=torch.float64)
                # weights of both signs, variances and gains above 0
                tensor.copy_(draw + 0.1 if tensor.ndim == 1 else draw - 0.3)
            assert tensor.isfinite().all(), key
    return block


def draw(generator, dimension, batch=1):
    return torch.randn(batch, CHANNELS, *GRIDS[dimension], generator=generator, dtype=torch.float64)


def rebuilt(block, x, record):
    """Return the block's output from the attention that the record says it has."""
    projections = block.project(x)
    attention = terms.attention(record, range(record.query_grid.positions))
    return x + block.restore(attention @ projections.value, projections.query_shape)


@pytest.mark.parametrize("dimension", [1, 2, 3])
@pytest.mark.parametrize(
    ("name", "sampling"),
    [
        (name, sampling)
        for name in BLOCKS
        for sampling, options in SAMPLING.items()
        if all(accepts(name, option) for option in options)
    ],
)
def test_attention_rebuilt_from_the_record_gives_the_blocks_output(
    generator, name, dimension, sampling
):
    block = make(name, generator, dimension=dimension, **SAMPLING[sampling])
    x = draw(generator, dimension)
    with recording(block, (40, 56)) as records:
        output = block(x)

    assert (rebuilt(block, x, records[0]) - output).abs().max() < 1e-12 * output.abs().max()
    assert (output - x).abs().max() > 1e-3, "the block does something"


@pytest.mark.parametrize("name", with_option("batch_norm"))
def test_the_same_holds_without_batch_normalization(generator, name):
    block, x = make(name, generator, batch_norm=False), draw(generator, 2)
    with recording(block, (40, 56)) as records:
        output = block(x)
    assert (rebuilt(block, x, records[0]) - output).abs().max() < 1e-12 * output.abs().max()


@pytest.mark.parametrize("name", BLOCKS)
def test_the_same_holds_in_single_precision(generator, name):
    block = make(name, generator).float()
    x = draw(generator, 2).float()
    with recording(block, (40, 56)) as records:
        output = block(x)
    assert (rebuilt(block, x, records[0]) - output).abs().max() / output.abs().max() < 1e-5


@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize("dimension", [1, 2, 3])
@pytest.mark.parametrize("name", BLOCKS)
def test_an_inserted_block_changes_nothing(generator, name, dimension, batch_norm):
    options = {"batch_norm": batch_norm} if accepts(name, "batch_norm") else {}
    block = BLOCKS[name](CHANNELS, dimension=dimension, **options).double().eval()
    x = draw(generator, dimension)
    assert torch.equal(block(x), x)


@pytest.mark.parametrize("name", BLOCKS)
def test_an_awake_block_acts_at_once_and_every_weight_learns(generator, name):
    torch.manual_seed(0)
    dimension = 3 if name == "time_only" else 2  # in an image it has nothing to choose from
    memory = torch.channels_last_3d if dimension == 3 else torch.channels_last
    block = BLOCKS[name](CHANNELS, dimension=dimension, init="awake").to(memory_format=memory)
    x = torch.randn(2, CHANNELS, *GRIDS[dimension], generator=generator)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = block(x.contiguous(memory_format=memory))
    assert not torch.equal(output, x)
    output.float().pow(3).mean().backward()
    for key, parameter in block.named_parameters():
        assert parameter.grad.isfinite().all(), key
        assert parameter.grad.abs().max() > 0, key


@pytest.mark.parametrize("name", ["non_local", "dot_product", "concatenation", "disentangled"])
def test_an_awake_block_starts_as_similarity_of_features_with_a_gain_of_one(name):
    torch.manual_seed(0)
    block = BLOCKS[name](512, init="awake")
    assert block.query.weight.std().item() == pytest.approx(0.05, rel=0.02)
    assert torch.equal(block.key.weight, block.query.weight)
    assert block.key.weight is not block.query.weight, "training may part them"
    assert block.out[1].weight.unique().tolist() == [1.0]
    if block.mask is not None:
        assert block.mask.weight.std().item() == pytest.approx(0.01, rel=0.1)


def test_an_awake_concatenation_block_rectifies_half_of_the_pairs(generator):
    torch.manual_seed(0)
    block = ConcatenationNonLocalBlock(CHANNELS, init="awake")
    query, key, *_ = block.project(torch.randn(1, CHANNELS, 5, 7, generator=generator) + 3)
    rectified = (query + key.transpose(1, 2) <= 0).float().mean().item()
    assert rectified == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_names_the_parameters_that_decide_where_it_looks(name):
    block = BLOCKS[name](CHANNELS)
    looks = {id(parameter) for parameter in block.logit_parameters()}
    named = {key.split(".")[0] for key, p in block.named_parameters() if id(p) in looks}
    parts = {key.split(".")[0] for key, _ in block.named_parameters()}
    assert named == parts - {"value", "out"}


@pytest.mark.parametrize("pool_order", ["after", "before"])
def test_keys_are_pooled_in_space_and_never_in_time(generator, pool_order):
    block = make("non_local", generator, dimension=3, subsample=True, pool_order=pool_order)
    projections = block.project(draw(generator, 3))
    assert projections.query_shape == (2, 5, 7)
    assert projections.key_shape == (2, 2, 3)
    assert projections.value.shape == (1, 12, 5)


def test_the_order_of_pooling_is_what_it_is_called(generator):
    x = draw(generator, 2)
    for order, expected in {
        "after": lambda block: max_pool2d(block.key(x), 2),
        "before": lambda block: block.key(max_pool2d(x, 2)),
    }.items():
        block = make("non_local", generator, subsample=True, pool_order=order)
        assert torch.equal(block.project(x).key, expected(block).flatten(2).transpose(1, 2))


@pytest.mark.parametrize("name", with_option("subsample"))
@pytest.mark.parametrize("grid", [(1, 7), (7, 1), (1, 1)], ids=str)
def test_a_side_of_one_cell_is_not_pooled(generator, name, grid):
    block = make(name, generator, subsample=True)
    x = torch.randn(1, CHANNELS, *grid, generator=generator, dtype=torch.float64)
    with recording(block, (40, 56)) as records:
        output = block(x)
    assert records[0].key_grid.shape == (1, *(max(1, side // 2) for side in grid))
    assert (rebuilt(block, x, records[0]) - output).abs().max() < 1e-12 * output.abs().max()


def test_the_scale_is_the_authors_unless_given():
    assert NonLocalBlock(CHANNELS).scale == pytest.approx(5**-0.5)
    assert NonLocalBlock(CHANNELS, scale=1.0).scale == 1.0
    assert DisentangledNonLocalBlock(512, temperature=0.05).scale == pytest.approx(1.25)
    for name in ("gaussian", "dot_product"):
        assert BLOCKS[name](CHANNELS).scale == 1.0, "the paper's formula"
        assert BLOCKS[name](CHANNELS, scale=0.25).scale == 0.25


def attention_of(name, generator, **options):
    """Return a block's logit-making parts by hand, and its attention as its values see it."""
    block = make(name, generator, **options)
    projections = block.project(draw(generator, 2))
    keys = projections.key_shape[0] * projections.key_shape[1]
    one_hot = torch.eye(keys, dtype=torch.float64).unsqueeze(0)
    return projections, block.aggregate(projections._replace(value=one_hot))[0]


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("non_local", lambda q, k, m: (q @ k.T / 5**0.5).softmax(1)),
        ("gaussian", lambda q, k, m: (q @ k.T).softmax(1)),
        ("dot_product", lambda q, k, m: q @ k.T / len(k)),
        ("concatenation", lambda q, k, m: (q + k.T).relu() / len(k)),
        ("pairwise", lambda q, k, m: pairwise_by_hand(q, k).softmax(1)),
        ("unary", lambda q, k, m: m.softmax(0).expand(len(q), -1)),
        ("product", lambda q, k, m: (pairwise_by_hand(q, k) + m).softmax(1)),
        (
            "sum",
            lambda q, k, m: (
                pairwise_by_hand(q, k).softmax(1) + (k @ q.mean(0) / 5**0.5 / 0.05).softmax(0)
            ),
        ),
        ("disentangled", lambda q, k, m: pairwise_by_hand(q, k).softmax(1) + m.softmax(0)),
        ("sagan", lambda q, k, m: (q @ k.T).softmax(1)),
        ("shared_key", lambda q, k, m: (q @ q.T / 5**0.5).softmax(1)),
        ("simplified", lambda q, k, m: m.softmax(0).expand(len(q), -1)),
        ("global_context", lambda q, k, m: m.softmax(0).expand(len(q), -1)),
    ],
)
def test_attention_is_the_papers_formula(generator, name, formula):
    (query, key, _, unary, *_), attention = attention_of(name, generator)
    expected = formula(query[0], key[0], None if unary is None else unary[0])
    assert (attention - expected).abs().max() < 1e-12


def pairwise_by_hand(query, key):
    """Return whitened logits of five channels at the authors' temperature."""
    return (query - query.mean(0)) @ (key - key.mean(0)).T / (5**0.5 * 0.05)


def test_the_concatenation_adds_an_inner_product_of_each_side(generator):
    block, x = make("concatenation", generator), draw(generator, 2)
    query, key = block.query(x).flatten(2)[0], block.key(x).flatten(2)[0]
    pairs = torch.stack([torch.cat((query[:, i], key[:, j])) for i in (3, 31) for j in (5, 17)])
    expected = (pairs @ block.compare.weight[0]).relu().view(2, 2)
    projections = block.project(x)
    logits = (projections.query[0] + projections.key[0].T).relu()[[3, 31]][:, [5, 17]]
    assert (logits - expected).abs().max() < 1e-12


def test_the_global_context_goes_through_a_bottleneck_with_a_norm_over_channels(generator):
    block = make("global_context", generator, ratio=0.3)
    x = draw(generator, 2)
    context = block.context(block.project(x))[0, 0]
    squeeze, norm, _, restore = block.out
    inner = squeeze.weight[:, :, 0, 0] @ context + squeeze.bias
    assert inner.shape == (3,)
    inner = (inner - inner.mean()) / (inner.var(unbiased=False) + 1e-5).sqrt()
    inner = (inner * norm.weight + norm.bias).relu()
    expected = x[0] + (restore.weight[:, :, 0, 0] @ inner + restore.bias)[:, None, None]
    assert (block(x)[0] - expected).abs().max() < 1e-12


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


def test_averages_without_softmax_equal_the_matrix_product(generator):
    query, key = (torch.randn(2, n, 3, generator=generator).double() for n in (5, 7))
    value = torch.randn(2, 7, 11, generator=generator).double()
    expected = 0.7 * query @ key.transpose(1, 2) / 7 @ value
    assert (average_by_dot_product(query, key, value, scale=0.7) - expected).abs().max() < 1e-12
    query, key = query[..., :1], key[..., :1]
    key[:, 2] = -query[:, 1]  # a sum of exactly 0
    expected = (query + key.transpose(1, 2)).relu() / 7 @ value
    assert (average_by_rectified_sum(query, key, value) - expected).abs().max() < 1e-12


def test_the_sorted_average_loses_no_digits_to_an_offset_that_cancels(generator):
    query, key = (torch.randn(1, n, 1, generator=generator) for n in (500, 700))
    value = torch.randn(1, 700, 3, generator=generator)
    exact = average_by_rectified_sum(query.double(), key.double() - 0.1, value.double())
    shifted = average_by_rectified_sum(query + 100, key - 100.1, value)
    assert (shifted - exact).abs().max() < 1e-4 * exact.abs().max()


def test_the_sorted_average_has_the_gradient_of_the_matrix_product(generator):
    def gradients(average):
        torch.manual_seed(0)
        parts = [
            torch.randn(2, n, c).double().requires_grad_() for n, c in ((5, 1), (7, 1), (7, 3))
        ]
        return torch.autograd.grad(average(*parts).pow(3).sum(), parts)

    def by_matrix(query, key, value):
        return (query + key.transpose(1, 2)).relu() / 7 @ value

    for sorted_one, expected in zip(
        gradients(average_by_rectified_sum), gradients(by_matrix), strict=True
    ):
        assert (sorted_one - expected).abs().max() < 1e-12


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((name, {}) for name in BLOCKS if not accepts(name, "inner_channels")),
        *(
            (name, {"inner_channels": n})
            for n in (32, 128)
            for name in with_option("inner_channels")
        ),
    ],
    ids=str,
)
def test_evaluation_never_builds_the_attention_matrix(name, options):
    positions = 64 * 64
    block = BLOCKS[name](64, init="awake", **options).eval()
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
        ({"pool_order": "never"}, "pool_order must be 'after' or 'before', got 'never'"),
    ],
)
@pytest.mark.usefixtures("as_users_run")
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        NonLocalBlock(CHANNELS, **options)


def test_self_attention_is_as_thin_as_the_paper_says_unless_told_otherwise():
    block = BLOCKS["sagan"](512)
    assert [layer.out_channels for layer in (block.query, block.key, block.value)] == [64] * 3
    assert (block.scale, block.out[1].gain.tolist()) == (1.0, [0.0])
    as_coded = BLOCKS["sagan"](512, value_channels=256, subsample=True, init="awake")
    assert (as_coded.key.out_channels, as_coded.value.out_channels) == (64, 256)
    assert as_coded.out[1].gain.tolist() == [1.0]


def test_a_shared_key_makes_symmetric_logits_of_normalized_weights(generator):
    block = make("shared_key", generator)
    with recording(block, (40, 56)) as records:
        block(draw(generator, 2))
    logits = terms.logits(records[0], range(35))
    assert (logits - logits.T).abs().max() < 1e-12
    length, direction = (
        block.get_parameter(f"value.parametrizations.weight.original{part}") for part in (0, 1)
    )
    expected = length * direction / direction.flatten(1).norm(dim=1)[:, None, None, None]
    assert (block.value.weight - expected).abs().max() < 1e-12


def test_a_temperature_must_be_positive():
    with pytest.raises(ValueError, match="temperature must be above 0, got 0"):
        DisentangledNonLocalBlock(CHANNELS, temperature=0.0)


def test_what_a_form_does_not_have_cannot_be_set():
    with pytest.raises(ValueError, match=r"concatenation logits hold no dot product .* scale 0\.5"):
        ConcatenationNonLocalBlock(CHANNELS, scale=0.5)
    with pytest.raises(ValueError, match="ratio must be above 0, got 0"):
        GlobalContextBlock(CHANNELS, ratio=0.0)


def test_every_block_says_what_it_is():
    for name, block in BLOCKS.items():
        assert issubclass(block, AttentionBlock)
        assert block.coupling in FORMS[block.form].couplings, name
