"""Blocks that were traced, against what they say they compute, and what is refused."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nonlocal_lens.analysis import terms
from nonlocal_lens.analysis.tracing import trace
from nonlocal_lens.models import blocks
from nonlocal_lens.models.blocks.released_disentangled import ReleasedDisentangledBlock
from tests.tracing_oracles import error, softmaxes, traced

CHANNELS, HEIGHT, WIDTH = 12, 7, 11
PLACES = HEIGHT * WIDTH


def picture(seed=0, batch=1):
    return torch.randn(
        batch, CHANNELS, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(seed)
    )


OWN = {
    "NonLocalBlock": "coupled",
    "GaussianNonLocalBlock": "coupled",
    "DotProductNonLocalBlock": "unnormalized",
    "DisentangledNonLocalBlock": "disentangled",
    "PairwiseNonLocalBlock": "pairwise",
    "ProductNonLocalBlock": "coupled",
    "SumNonLocalBlock": "disentangled",
    "UnaryNonLocalBlock": "unary",
    "SharedKeyNonLocalBlock": "coupled",
}


@pytest.mark.parametrize("subsample", [False, True], ids=["", "sub-sampled"])
@pytest.mark.parametrize("name", OWN)
def test_what_is_traced_of_our_blocks_is_what_they_project(name, subsample):
    torch.manual_seed(3)
    block = getattr(blocks, name)(CHANNELS, init="awake", subsample=subsample).eval()
    found = trace(block, picture())
    (record,) = found.records
    query_axis, key_axis = record.query_axis, record.key_axis
    assert not found.refused
    assert record.coupling == OWN[name]
    own = _projected(block, picture())[: len(record.query)]  # all alike, where these are fewer
    assert error(record, own) < 1e-5
    if record.coupling != "unary":
        assert query_axis.grid.shape == (1, HEIGHT, WIDTH)
    assert key_axis.grid.shape == (
        (1, HEIGHT // 2, WIDTH // 2) if subsample else (1, HEIGHT, WIDTH)
    )


def _projected(block, x):
    """Return a block's attention by what its layers project, in plain matrices."""
    with torch.no_grad():
        query, key, _, unary, *_ = block.project(x)
    query, key = query[0].double(), key[0].double()
    if block.coupling in ("disentangled", "pairwise") or block.learns_unary:
        mean = query.mean(dim=0)
        query, key = query - mean, key - key.mean(dim=0)
        if unary is None:
            unary = block.scale * (key @ mean)[None]
    logits = block.scale * query @ key.T
    match block.coupling:
        case "unnormalized":
            return logits / len(key)
        case "unary":
            return unary[0].softmax(0).expand(len(query), -1)
        case "pairwise":
            return logits.softmax(1)
        case "disentangled":
            return logits.softmax(1) + unary[0].double().softmax(0)
    return (logits if unary is None else logits + unary[0].double()).softmax(1)


@pytest.mark.parametrize("whitening", ["none", "channel", "spatial", "layer_std", "batch"])
def test_the_authors_disentangled_block_is_told_with_its_learned_gain(whitening):
    torch.manual_seed(3)
    block = ReleasedDisentangledBlock(CHANNELS, whitening=whitening).eval()
    gain = next(p for n, p in block.named_parameters() if p.numel() == 1 and "bias" not in n)
    nn.init.constant_(gain, -0.37)
    (record,) = trace(block, picture()).records
    assert record.coupling == "disentangled"
    assert record.pairwise_gain == pytest.approx(-0.37)
    assert record.whitened == (whitening == "channel")
    assert torch.allclose(
        terms.attention(record, range(PLACES)).sum(1), torch.tensor(0.63), atol=1e-5
    )


class Attention(nn.Module):
    """A plain block whose steps can be replaced by others."""

    def __init__(self, channels=CHANNELS, inner=8):
        super().__init__()
        torch.manual_seed(5)
        self.q, self.k, self.v = (nn.Conv2d(channels, inner, 1) for _ in range(3))

    def forward(self, x):
        q, k, v = (layer(x).flatten(2).mT for layer in (self.q, self.k, self.v))
        return self.attend(q, k, v)

    def attend(self, q, k, v):
        self.own = self.weights(self.logits(q, k))
        return self.own @ v

    def logits(self, q, k):
        return q @ k.mT * 0.3

    def weights(self, logits):
        return logits.softmax(-1)


def variant(**methods):
    return type("Variant", (Attention,), methods)


def dot_product(self, logits):
    return logits / logits.shape[-1]


def in_place(self, q, k):
    logits = torch.empty(len(q), PLACES, PLACES)
    torch.baddbmm(logits, q, k.mT, beta=0, out=logits)
    logits.mul_(0.3)
    logits += torch.linspace(-1, 1, PLACES)
    return logits


def masked_in_place(self, q, k):
    logits = q @ k.mT
    return logits.masked_fill_(torch.ones(PLACES, PLACES).triu(1).bool(), float("-inf"))


def masked_by_choice(self, q, k):
    seen = torch.ones(PLACES, PLACES).tril().bool()
    return torch.where(seen, q @ k.mT, torch.tensor(-1e9))


def with_full_bias(self, q, k):
    return q @ k.mT + torch.randn(PLACES, PLACES, generator=torch.Generator().manual_seed(1))


def cosine(self, q, k):
    return F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).mT * torch.tensor(2.3).exp()


def of_sums(self, q, k):
    return (q + 0.1) @ k.mT + k @ k.mT


def transposed(self, q, k):
    return (k @ q.mT).mT.contiguous().view(len(q), PLACES, PLACES)


def without_mean(self, q, k):
    logits = q @ k.mT
    return logits - logits.mean(dim=1, keepdim=True)


READ = {
    "plain": {},
    "by einsum": {
        "logits": lambda self, q, k: torch.einsum("bnc,bmc->bnm", q, k),
        "attend": lambda self, q, k, v: torch.einsum(
            "bnm,bmc->bcn", _kept(self, self.weights(self.logits(q, k))), v
        ),
    },
    "dot product": {"weights": dot_product},
    "in place": {"logits": in_place},
    "causal": {"logits": masked_in_place},
    "causal by choice": {"logits": masked_by_choice},
    "bias of full rank": {"logits": with_full_bias},
    "cosine": {"logits": cosine},
    "two products": {"logits": of_sums},
    "keys first": {"logits": transposed},
    "mean taken out": {"logits": without_mean},
    "in half precision": {"weights": lambda self, x: x.softmax(-1).half().float()},
    "doubled and halved": {"weights": lambda self, x: (2 * x).softmax(-1) * 2 / 2},
}


def _kept(module, weights):
    module.own = weights
    return weights


@pytest.mark.parametrize("how", READ)
def test_weights_are_read_however_they_are_computed(how):
    network = variant(**READ[how])()
    found = trace(network.eval(), picture())
    assert not found.refused
    (record,) = found.records
    assert error(record, network.own[0]) < (1e-2 if "half" in how else 1e-5)
    assert record.proof.error < (1e-2 if "half" in how else 1e-5)


def over_queries(self, logits):
    return logits.softmax(-2)


def nearly(self, logits):
    noise = torch.randn(logits.shape, generator=torch.Generator().manual_seed(1))
    return logits.softmax(-1) * (1 + 1e-3 * noise)


def nearly_by_addition(self, logits):
    noise = torch.rand(logits.shape, generator=torch.Generator().manual_seed(1))
    return logits.softmax(-1) + 1e-3 * noise / PLACES


def predicted(self, q, k):
    return q @ torch.randn(8, PLACES, generator=torch.Generator().manual_seed(1)).relu()


REFUSED = {
    "softmax over queries": ({"weights": over_queries}, "runs over queries, not over the keys"),
    "a thousandth off": ({"weights": nearly}, "multiplied by a matrix, entry by entry"),
    "a thousandth added": ({"weights": nearly_by_addition}, "is no softmax"),
    "sigmoid": (
        {"weights": lambda self, x: x.sigmoid().softmax(-1)},
        "the operation 'sigmoid' is not followed",
    ),
    "clamped": (
        {"weights": lambda self, x: x.clamp(max=0.1).softmax(-1)},
        "the operation 'clamp' is not followed",
    ),
    "half": ({"weights": lambda self, x: x.softmax(-1) / 2}, "its weights are multiplied by 0.5"),
    "clipped weights": (
        {"weights": lambda self, x: x.softmax(-1).clamp(max=0.1)},
        "the operation 'clamp' is not followed",
    ),
}


@pytest.mark.parametrize("how", REFUSED)
def test_other_weights_are_refused_with_what_is_computed(how):
    methods, sentence = REFUSED[how]
    found = trace(variant(**methods)().eval(), picture())
    assert not found.records
    assert sentence in " ".join(each.why for each in found.refused)


def test_chunks_of_queries_are_one_record():
    def attend(self, q, k, v):
        rows = [self.weights(self.logits(part, k)) for part in q.split(13, dim=1)]
        self.own = torch.cat(rows, dim=1)
        return torch.cat([row @ v for row in rows], dim=1)

    network = variant(attend=attend)().eval()
    (record,) = trace(network, picture()).records
    assert error(record, network.own[0]) < 1e-5


def test_a_loop_over_heads_gives_a_record_for_each():
    def attend(self, q, k, v):
        pairs = zip(q.split(2, dim=2), k.split(2, dim=2), v.split(2, dim=2), strict=True)
        self.own, out = [], []
        for query, key, value in pairs:
            self.own.append(self.weights(self.logits(query, key)))
            out.append(self.own[-1] @ value)
        return torch.cat(out, dim=2)

    network = variant(attend=attend)().eval()
    records = trace(network, picture()).records
    assert [record.head for record in records] == [0, 1, 2, 3]
    for record, own in zip(records, network.own, strict=True):
        assert error(record, own[0]) < 1e-5


def test_each_picture_of_a_batch_is_read_by_itself():
    network = Attention().eval()
    for number in range(3):
        (record,) = trace(network, picture(batch=3), picture=number).records
        assert error(record, network.own[number]) < 1e-5


def test_a_block_that_attends_twice_is_told_apart_by_call():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = Attention(inner=CHANNELS)
            self.kept = []

        def forward(self, x):
            for _ in range(2):
                x = self.block(x).mT.unflatten(2, (HEIGHT, WIDTH))
                self.kept.append(self.block.own)
            return x

    network = Twice().eval()
    records = trace(network, picture()).records
    assert [(record.block, record.call) for record in records] == [("block", 0), ("block", 1)]
    for record, own in zip(records, network.kept, strict=True):
        assert error(record, own[0]) < 1e-5


class Near(nn.MultiheadAttention):
    """Prefers what is near."""

    def forward(self, q, k, v, **_):
        y, x = (torch.arange(PLACES) // WIDTH).float(), (torch.arange(PLACES) % WIDTH).float()
        near = -((y[:, None] - y) ** 2 + (x[:, None] - x) ** 2)
        out, self.own = super().forward(q, k, v, attn_mask=near, average_attn_weights=False)
        return out, None


class KeysOfKeys(nn.MultiheadAttention):
    """Attends from keys to keys, as some do to dense features of networks for whole pictures."""

    def forward(self, q, k, v, **_):
        weight, bias = self.in_proj_weight, self.in_proj_bias
        q, k, v = F.linear(q, weight, bias).chunk(3, dim=-1)
        heads = [x.unflatten(2, (self.num_heads, -1)).transpose(1, 2) for x in (q, k, v)]
        scale = heads[0].shape[-1] ** -0.5
        q, k, v = heads
        self.own = (q @ q.mT * scale).softmax(-1) + (k @ k.mT * scale).softmax(-1)
        return self.out_proj((self.own @ v).transpose(1, 2).flatten(2)), None


@pytest.mark.parametrize("heads", [1, 3])
def test_a_subclass_of_multihead_attention_is_read_as_it_computes(heads):
    network = _tokens(Near(CHANNELS, heads, batch_first=True))
    records = trace(network, picture()).records
    assert len(records) == heads
    for head, record in enumerate(records):
        assert error(record, network.attention.own[0, head]) < 1e-5


def test_weights_that_are_the_sum_of_two_softmaxes_are_shown_one_by_one():
    network = _tokens(KeysOfKeys(CHANNELS, 2, batch_first=True))
    with softmaxes() as own:
        network(picture())
    records = trace(network, picture()).records
    assert len(records) == len(own) == 4
    assert all(any(error(record, each) < 1e-5 for each in own) for record in records)


def _tokens(attention):
    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = attention

        def forward(self, x):
            x = x.flatten(2).mT
            return self.attention(x, x, x)[0]

    torch.manual_seed(2)
    for parameter in attention.parameters():
        nn.init.normal_(parameter, std=0.3)
    return Network().eval()


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize(
    "mask",
    [
        None,
        {"attn_mask": torch.ones(9, 9).triu(1).bool()},
        {"attn_mask": torch.randn(9, 9, generator=torch.Generator().manual_seed(1))},
        {"key_padding_mask": torch.zeros(1, 9).bool()},
        {"key_padding_mask": torch.arange(9)[None] > 5},
    ],
    ids=["all", "causal", "bias", "nothing padded", "padded"],
)
@pytest.mark.parametrize("heads", [3, 4, 12])  # torch has a fast path where they are even
def test_multihead_attention_is_read_with_any_mask(need_weights, batch_first, mask, heads):
    torch.manual_seed(4)
    attention = nn.MultiheadAttention(12, heads, batch_first=batch_first).eval()
    for parameter in attention.parameters():
        nn.init.normal_(parameter, std=0.4)
    x = torch.randn((1, 9, 12) if batch_first else (9, 1, 12))
    _, own = attention(x, x, x, average_attn_weights=False, **(mask or {}))
    records, refused = traced(attention, x, x, x, need_weights=need_weights, **(mask or {}))
    assert not refused
    assert len(records) == heads
    weight, bias = attention.in_proj_weight[24:], attention.in_proj_bias[24:]
    value = F.linear(x, weight, bias).detach().reshape(9, heads, -1)
    way_out = attention.out_proj.weight.detach().unflatten(1, (heads, -1))
    for head, record in enumerate(records):
        assert error(record, own[0, head].detach()) < 1e-5
        assert record.scale == pytest.approx((12 // heads) ** -0.5)
        added = value[:, head] @ way_out[:, head].T
        torch.testing.assert_close(record.value_norm, added.norm(dim=1), rtol=1e-4, atol=1e-5)
        assert record.value.shape[1] <= 12 // heads
        torch.testing.assert_close(
            record.value @ record.value.T, added @ added.T, rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("inference", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_the_fast_path_is_read_in_any_precision_and_mode(dtype, inference):
    torch.manual_seed(4)
    attention = nn.MultiheadAttention(12, 4, batch_first=True).eval().to(dtype)
    x = torch.randn(2, 9, 12).to(dtype)
    with torch.inference_mode(inference):
        _, own = attention(x, x, x, average_attn_weights=False)
        records, refused = traced(attention, x, x, x, need_weights=False)
    assert not refused
    assert len(records) == 8
    allowed = 1e-5 if dtype != torch.bfloat16 else 1e-2
    for record, weights in zip(records, own.flatten(0, 1), strict=True):
        assert error(record, weights.detach()) < allowed
        assert record.value_norm is not None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize(
    "more", [{}, {"is_causal": True}, {"enable_gqa": True}, {"scale": 0.7}], ids=str
)
def test_fused_attention_is_read_in_any_precision(dtype, more):
    generator = torch.Generator().manual_seed(0)
    heads = 2 if "enable_gqa" in more else 6
    q, k, v = (
        torch.randn(1, count, 17, 8, generator=generator).to(dtype) for count in (6, heads, heads)
    )

    class Fused(nn.Module):
        def forward(self, q, k, v):
            return F.scaled_dot_product_attention(q, k, v, **more)

    records, refused = traced(Fused(), q, k, v)
    assert not refused
    assert len(records) == 6
    keys = k.repeat_interleave(6 // heads, dim=1)
    logits = more.get("scale", 8**-0.5) * q.double() @ keys.double().mT
    if "is_causal" in more:
        logits = logits.masked_fill(torch.ones(17, 17).triu(1).bool(), float("-inf"))
    for head, record in enumerate(records):
        assert error(record, logits.softmax(-1)[0, head]) < 1e-5
        assert record.proof.tolerance >= (1e-2 if dtype.itemsize == 2 else 1e-5)
