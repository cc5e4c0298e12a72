"""Networks of all kinds, traced: where tokens lie, what others are called, what is refused."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nonlocal_lens.analysis import terms
from nonlocal_lens.analysis.tracing import trace

SIDE = 16


class Block(nn.Module):
    """A non-local block as people write them, which keeps its own weights."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.g, self.theta, self.phi = (nn.Conv2d(channels, channels, 1) for _ in range(3))
        self.weights: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        weights = (self.theta(x).flatten(2).mT @ self.phi(x).flatten(2)).softmax(2)
        self.weights.append(weights.detach())
        return x + (weights @ self.g(x).flatten(2).mT).mT.reshape(x.shape)


class Around(nn.Module):
    """A block with something before it."""

    def __init__(self, before, after=lambda x: x) -> None:
        super().__init__()
        self.head, self.block = nn.Conv2d(3, 8, 1), Block()
        self.before, self.after = before, after

    def forward(self, *pictures: Tensor) -> Tensor:
        return self.after(self.block(self.before(*(self.head(x) for x in pictures))))


class Tokens(nn.Module):
    """Patches as tokens, with what is learned beside them."""

    def __init__(self, move=lambda x: x) -> None:
        super().__init__()
        self.cells = nn.Conv2d(3, 16, 4, stride=4)
        self.attn = nn.MultiheadAttention(16, 1, batch_first=True)
        self.cls_token = nn.Parameter(torch.randn(1, 1, 16))
        self.prompts = nn.Parameter(torch.randn(1, 2, 16))
        self.move = move

    def forward(self, x: Tensor) -> Tensor:
        x = self.move(self.cells(x).flatten(2).mT)
        x = torch.cat([self.cls_token, 4 * x, self.prompts], 1)
        output, self.weights = self.attn(x, x, x)
        return output


def picture(side: int = SIDE, seed: int = 0) -> Tensor:
    return torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def test_tokens_that_are_no_places_are_named_and_keep_their_part_of_every_row():
    network = Tokens().eval()
    traced = trace(network, picture())
    (record,) = traced.records
    axis = record.query_axis
    assert (axis.grid.shape, axis.placed, axis.names) == (
        (1, 4, 4), 16, ("class", "prompt 1", "prompt 2"),
    )  # fmt: skip
    assert axis == record.key_axis
    assert axis.center(5) == (6.0, 6.0)
    order = [*range(1, 17), 0, 17, 18]
    own = network.weights[0][order][:, order]
    torch.testing.assert_close(terms.attention(record, range(19)), own, rtol=1e-5, atol=1e-6)
    assert record.proof.error < 1e-5
    with torch.no_grad():
        assert torch.equal(traced.output, network(picture()))


def test_patches_that_are_dropped_and_shuffled_lie_where_they_came_from():
    kept = torch.tensor([13, 2, 7, 11, 0])
    network = Tokens(lambda x: x[:, kept]).eval()
    (record,) = trace(network, picture()).records
    assert record.query_axis.cells.tolist() == [0, 2, 7, 11, 13]
    assert record.query_axis.grid.shape == (1, 4, 4)
    order = [1 + i for i in (4, 1, 2, 3, 0)] + [0, 6, 7]
    own = network.weights[0][order][:, order]
    torch.testing.assert_close(terms.attention(record, range(8)), own, rtol=1e-5, atol=1e-6)


def test_patches_kept_by_what_they_hold_are_followed():
    def largest(x: Tensor) -> Tensor:
        best = x.norm(dim=2).topk(6).indices
        return x.gather(1, best[..., None].expand(-1, -1, 16))

    network = Tokens(largest).eval()
    (record,) = trace(network, picture()).records
    with torch.no_grad():
        right = network.cells(picture()).flatten(2).mT.norm(dim=2).topk(6).indices[0]
    assert record.query_axis.cells.tolist() == sorted(right.tolist())


def test_merged_tokens_are_refused():
    def merged(x: Tensor) -> Tensor:
        index = torch.tensor([5]).view(1, 1, 1).expand(1, 1, 16)
        return x.scatter_reduce(1, index, x[:, :1], reduce="mean")[:, 1:]

    traced = trace(Tokens(merged).eval(), picture())
    assert not traced.records
    assert "`scatter_reduce` in the network merged tokens" in traced.refused[0].why


def test_what_gathers_from_anywhere_is_refused_by_name():
    def warped(x: Tensor) -> Tensor:
        grid = F.affine_grid(torch.eye(2, 3)[None] * 0.7, [1, 1, SIDE, SIDE], False)
        return F.grid_sample(x, grid, align_corners=False)

    traced = trace(Around(warped).eval(), picture())
    assert not traced.records
    assert "grid_sampler_2d" in traced.refused[0].why


def test_a_block_that_runs_on_quarters_gives_each_its_place():
    class Quarters(Around):
        def forward(self, x: Tensor) -> Tensor:
            halves = self.head(x).chunk(2, 2)
            return torch.cat(
                [torch.cat([self.block(p) for p in half.chunk(2, 3)], 3) for half in halves], 2
            )

    records = trace(Quarters(None).eval(), picture()).records
    assert [(r.block, r.call, r.query_grid.bounds) for r in records] == [
        ("block", 0, (0, 0, 8, 8)),
        ("block", 1, (8, 0, 16, 8)),
        ("block", 2, (0, 8, 8, 16)),
        ("block", 3, (8, 8, 16, 16)),
    ]


def test_tiles_of_a_batch_are_parts_of_the_picture():
    def tiles(x: Tensor) -> Tensor:
        return x.unflatten(3, (2, 8)).unflatten(2, (2, 8)).permute(0, 2, 4, 1, 3, 5).flatten(0, 2)

    network = Around(tiles).eval()
    (record,) = trace(network, picture()).records
    assert record.query_grid.shape == (1, SIDE, SIDE)
    own = network.block.weights[0]
    rows = terms.attention(record, [0, 9 * SIDE + 10])  # in the first tile, and in the last
    for row, tile, query in ((rows[0], 0, 0), (rows[1], 3, 8 + 2)):
        top, left = divmod(tile, 2)
        part = row.view(SIDE, SIDE)[8 * top : 8 * top + 8, 8 * left : 8 * left + 8]
        right = own[tile, query].view(8, 8)
        torch.testing.assert_close(part, right, rtol=1e-4, atol=1e-6)
        assert row.sum() == pytest.approx(part.sum())


def test_flips_of_a_picture_are_views_of_it_each_turned_back():
    network = Around(lambda x: torch.cat([x, x.flip(3), x.mT])).eval()
    records = trace(network, picture()).records
    assert [(r.call, r.query_grid.shape) for r in records] == [
        (call, (1, SIDE, SIDE)) for call in range(3)
    ]
    own = network.block.weights[0].view(3, SIDE, SIDE, SIDE, SIDE)
    row = 3 * SIDE + 5  # row 3, column 5
    for record, right in zip(
        records, (own[0, 3, 5], own[1, 3, -6].flip(1), own[2, 5, 3].mT), strict=True
    ):
        got = terms.attention(record, [row]).view(SIDE, SIDE)
        torch.testing.assert_close(got, right, rtol=1e-4, atol=1e-6)


def test_pictures_of_a_pair_are_told_apart():
    network = Around(lambda a, b: torch.cat([a, b])).eval()
    (record,) = trace(network, picture(), picture(seed=1)).records
    torch.testing.assert_close(
        terms.attention(record, [7])[0], network.block.weights[0][0, 7], rtol=1e-4, atol=1e-6
    )
    both = torch.cat([picture(), picture(seed=1)])
    (record,) = trace(Around(lambda x: x).eval(), both, picture=1).records
    assert record.query_grid.shape == (1, SIDE, SIDE)


def test_cells_that_leave_a_border_lie_where_they_are():
    class Patches(Tokens):
        def __init__(self) -> None:
            super().__init__()
            self.cells = nn.Conv2d(3, 16, 6, stride=6)

    grid = trace(Patches().eval(), picture()).records[0].query_grid
    assert (grid.shape, grid.bounds) == ((1, 2, 2), (0, 0, 12, 12))


def test_places_are_given_in_pixels_of_the_picture_that_was_resized():
    grid = trace(Tokens().eval(), picture(), image_hw=(32, 80)).records[0].query_grid
    assert (grid.cell_height, grid.cell_width, grid.image_hw) == (8, 20, (32, 80))


def test_patches_flattened_by_hand_lie_in_their_middles():
    class ByHand(Tokens):
        def __init__(self) -> None:
            super().__init__()
            self.cells = nn.Linear(48, 16)

        def forward(self, x: Tensor) -> Tensor:
            x = x.unflatten(3, (4, 4)).unflatten(2, (4, 4)).permute(0, 2, 4, 3, 5, 1)
            x = self.cells(x.flatten(3).flatten(1, 2))
            output, self.weights = self.attn(x, x, x)
            return output

    (record,) = trace(ByHand().eval(), picture()).records
    assert [record.query_axis.center(i) for i in (0, 1, 4)] == [(2, 2), (6, 2), (2, 6)]


def test_gates_of_all_places_leave_each_its_own():
    def squeezed(x: Tensor) -> Tensor:
        return x * x.mean((2, 3), keepdim=True).sigmoid() + x.amax((2, 3), keepdim=True)

    (record,) = trace(Around(squeezed).eval(), picture()).records
    assert record.query_grid.shape == (1, SIDE, SIDE)


def test_positions_that_are_added_name_nothing():
    class Positioned(Tokens):
        def __init__(self) -> None:
            super().__init__()
            self.pos_embed = nn.Parameter(torch.randn(1, 16, 16))
            self.move = lambda x: x + self.pos_embed

    (record,) = trace(Positioned().eval(), picture()).records
    assert record.query_axis.placed == 16


def test_queries_that_are_learned_have_names_and_their_keys_places():
    class Pooling(Tokens):
        def __init__(self) -> None:
            super().__init__()
            self.queries = nn.Embedding(3, 16)

        def forward(self, x: Tensor) -> Tensor:
            x = self.cells(x).flatten(2).mT
            output, self.weights = self.attn(self.queries.weight[None], x, x)
            return output

    (record,) = trace(Pooling().eval(), picture()).records
    assert record.query_axis.grid is None
    assert record.query_axis.names == ("query 1", "query 2", "query 3")
    assert record.key_axis.grid.shape == (1, 4, 4)


@pytest.mark.parametrize("layout", ["B T C H W", "B C T H W"])
def test_frames_are_told_from_channels(layout):
    class Clip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cells = nn.Conv3d(3, 16, (2, 4, 4), stride=(2, 4, 4))
            self.attn = nn.MultiheadAttention(16, 1, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            x = x.transpose(1, 2) if layout == "B T C H W" else x
            x = self.cells(x).flatten(2).mT
            return self.attn(x, x, x)[0]

    shape = (1, 8, 3, 12, 16) if layout == "B T C H W" else (1, 3, 8, 12, 16)
    (record,) = trace(Clip().eval(), torch.randn(shape)).records
    assert record.query_grid.shape == (4, 3, 4)
    assert record.query_grid.frame_step is None  # its frames share the clip evenly


def test_words_and_pictures_are_told_apart():
    class Reader(Tokens):
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Embedding(9, 16)

        def forward(self, x: Tensor, input_ids: Tensor) -> Tensor:
            x, words = self.cells(x).flatten(2).mT, self.words(input_ids)
            return self.attn(x, words, words)[0]

    (record,) = trace(Reader().eval(), picture(), input_ids=torch.tensor([[4, 2, 4]])).records
    assert record.query_axis.placed == 16
    assert record.key_axis.names == ("word 1", "word 2", "word 3")


def test_records_are_saved_with_their_tokens(tmp_path):
    (record,) = trace(Tokens(lambda x: x[:, 3:]).eval(), picture()).records
    record.save(tmp_path / "a.safetensors")
    loaded = type(record).load(tmp_path / "a.safetensors")
    assert loaded.query_axis == record.query_axis
    assert loaded.key_axis == record.key_axis


class SideBySide(nn.Module):
    """Attends under one softmax to keys of two kinds, as criss-cross attention does."""

    def __init__(self, early: bool, parted: bool) -> None:
        super().__init__()
        self.query, self.key, self.others, self.value = (nn.Conv2d(3, 8, 1) for _ in range(4))
        self.early, self.parted = early, parted

    def forward(self, x: Tensor) -> Tensor:
        q, k, others, v = (
            layer(x).flatten(2) for layer in (self.query, self.key, self.others, self.value)
        )
        parts = [q.mT @ k, q.mT @ others]
        if self.early:
            weights = torch.cat(parts, 2).softmax(2)
        else:
            weights = torch.cat([part.softmax(2) for part in parts], 2) / 2
        if self.parted:
            return sum(part @ v.mT for part in weights.split(v.shape[2], 2))
        return weights @ torch.cat([v, v], 2).mT


@pytest.mark.parametrize("parted", [False, True])
@pytest.mark.parametrize(("early", "why"), [(True, "products of queries"), (False, "weights")])
def test_keys_of_two_kinds_under_one_softmax_are_refused_as_what_they_are(early, why, parted):
    traced = trace(SideBySide(early, parted).eval(), picture(7))
    assert not traced.records
    assert traced.refused
    for refused in traced.refused:
        assert f"its {why}" in refused.why
        assert "put side by side" in refused.why
