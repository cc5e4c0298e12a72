import pickle
from functools import partial

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from typer.testing import CliRunner
from video_files import (
    CLASSES,
    PLACES,
    caffe2,
    drawn,
    mmaction2,
    slowfast,
    temporal_shift,
    video,
)

from nonlocal_lens.analysis import terms
from nonlocal_lens.analysis.capture import recording
from nonlocal_lens.app.cli import cli
from nonlocal_lens.models import load_network

HALF = (1, 2, 2)


class Reference:
    """The published networks' forward, as plain functions of the tables' own names."""

    def __init__(self, tensors, *, pool_first=False, scaled=False, form="non_local", shifts=False):
        self.tensors, self.form, self.shifts = tensors, form, shifts
        self.pool_first, self.scaled = pool_first, scaled
        self.attention = {}

    def conv(self, x, name, stride=1, time=1):
        weight = self.tensors[f"{name}.weight"]
        weight = weight.unsqueeze(2) if weight.ndim == 4 else weight
        padding = [side // 2 for side in weight.shape[2:]]
        bias = self.tensors.get(f"{name}.bias")
        return F.conv3d(x, weight, bias, (time, stride, stride), padding)

    def norm(self, x, name):
        t = self.tensors
        if f"{name}.running_mean" not in t:
            gain, bias = (t[f"{name}.{part}"][:, None, None, None] for part in ("weight", "bias"))
            return x * gain + bias
        parts = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(x, *(t[f"{name}.{part}"] for part in parts))

    def residual(self, x, name, stride):
        shortcut = x
        if f"{name}.short.weight" in self.tensors:
            shortcut = self.norm(self.conv(x, f"{name}.short", stride), f"{name}.shortbn")
        if self.shifts:
            fold = x.shape[1] // 8
            later = F.pad(x[:, :fold, 1:], (0, 0, 0, 0, 0, 1))
            earlier = F.pad(x[:, fold : 2 * fold, :-1], (0, 0, 0, 0, 1, 0))
            x = torch.cat((later, earlier, x[:, 2 * fold :]), 1)
        x = self.norm(self.conv(x, f"{name}.conv1"), f"{name}.bn1").relu()
        x = self.norm(self.conv(x, f"{name}.conv2", stride), f"{name}.bn2").relu()
        return (self.norm(self.conv(x, f"{name}.conv3"), f"{name}.bn3") + shortcut).relu()

    def attend(self, x, name):
        def pooled(layer):
            if self.pool_first:
                return self.conv(F.max_pool3d(x, HALF), f"{name}.{layer}")
            return F.max_pool3d(self.conv(x, f"{name}.{layer}"), HALF)

        value = pooled("value").flatten(2)
        if self.form == "gaussian":
            query, key = x.flatten(2), F.max_pool3d(x, HALF).flatten(2)
        else:
            query, key = self.conv(x, f"{name}.query").flatten(2), pooled("key").flatten(2)
        logits = query.transpose(1, 2) @ key * (query.shape[1] ** -0.5 if self.scaled else 1)
        dot = self.form == "dot_product"
        weights = logits / key.shape[2] if dot else logits.softmax(2)
        self.attention.setdefault(name, []).append(weights[0])
        y = (value @ weights.transpose(1, 2)).unflatten(2, x.shape[2:])
        y = self.conv(y, f"{name}.out")
        return x + (self.norm(y, f"{name}.bn") if f"{name}.bn.weight" in self.tensors else y)

    def __call__(self, x, *, conv_time=1, pool=(1, 1), padding=1, stage_pool=1, group=None):
        x = self.norm(self.conv(x, "conv1", 2, conv_time), "bn1").relu()
        x = F.max_pool3d(x, (pool[0], 3, 3), (pool[1], 2, 2), (0, padding, padding))
        for stage in (1, 2, 3, 4):
            index = 0
            while f"layer{stage}.{index}.conv1.weight" in self.tensors:
                name = f"layer{stage}.{index}"
                x = self.residual(x, name, 2 if stage > 1 and index == 0 else 1)
                if f"{name}.nl.value.weight" in self.tensors:
                    frames = group if group and stage == 2 else x.shape[2]
                    parts = [self.attend(part, f"{name}.nl") for part in x.split(frames, 2)]
                    x = torch.cat(parts, 2)
                index += 1
            x = F.max_pool3d(x, (stage_pool, 1, 1)) if stage == 1 else x
        return F.linear(x.mean((2, 3, 4)), self.tensors["fc.weight"], self.tensors["fc.bias"])


def write_torch(path, tensors, name, nested="state_dict"):
    torch.save({nested: {name(key): tensor for key, tensor in tensors.items()}}, path)


def write_caffe2(path, tensors):
    blobs = {caffe2(name): tensor.numpy() for name, tensor in tensors.items()}
    blobs["pred_w_momentum"] = blobs["pred_w"]
    content = {"blobs": {**blobs, "model_iter": 400_000, "lr": np.float32(0.1)}}
    path.write_bytes(pickle.dumps(content, 2))


CASES = {
    "mmaction2 I3D": ("i3d", mmaction2, {}, {"conv_time": 2, "pool": (1, 2), "stage_pool": 2}),
    "mmaction2 SlowOnly": ("slow", mmaction2, {"scaled": True}, {}),
    "mmaction2 TSM": ("c2d", partial(mmaction2, shifts=True), {"shifts": True}, {}),
    "TSM": ("c2d", temporal_shift, {"shifts": True}, {}),
    "SlowFast I3D": ("i3d", slowfast, {"scaled": True, "pool_first": True}, {"stage_pool": 2}),
    "SlowFast C2D": ("c2d", slowfast, {"scaled": True, "pool_first": True}, {"stage_pool": 2}),
    "SlowFast Slow": ("slow", slowfast, {"scaled": True, "pool_first": True}, {}),
}


def check(path, reference, x, options, pace):
    """Compare output and attention of what is loaded with those of the reference."""
    expected = reference(x, **pace)
    network = load_network(path, **options)
    with recording(network, (64, 96)) as records:
        found = network(x)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    seen = [(name, rows) for name, maps in reference.attention.items() for rows in maps]
    assert len(records) == len(seen) >= 2
    for record, (name, rows) in zip(records, seen, strict=True):
        place = name.removesuffix(".nl")
        assert record.block.startswith(f"{place}_non_local")
        queries = [0, 3, len(rows) - 1]
        rebuilt = terms.attention(record, queries)
        torch.testing.assert_close(rebuilt, rows[queries], rtol=1e-4, atol=1e-5)
    return network, records


@pytest.mark.parametrize("case", CASES)
def test_a_network_computes_what_its_authors_code_computes(tmp_path, generator, case):
    kind, name, how, pace = CASES[case]
    tensors = drawn(video(kind, flat="shifts" in how), generator)
    path = tmp_path / "net.pyth"
    write_torch(path, tensors, name, "model_state" if name is slowfast else "state_dict")
    x = torch.randn(1, 3, 8, 64, 96, generator=generator)
    network, records = check(path, Reference(tensors, **how), x, {}, pace)
    assert not network.training
    time = 8 // (pace.get("conv_time", 1) * pace.get("pool", (1, 1))[1] * pace.get("stage_pool", 1))
    assert [record.query_grid.shape for record in records] == [(time, 8, 12), (time, 4, 6)]
    assert [record.key_grid.shape for record in records] == [(time, 4, 6), (time, 2, 3)]
    assert network.classes == tuple(f"class {index}" for index in range(CLASSES))


@pytest.mark.parametrize("form", ["dot_product", "gaussian"])
@pytest.mark.parametrize("shifts", [True, False])
def test_every_form_of_mmaction2(tmp_path, generator, form, shifts):
    kind, pace = ("c2d", {}) if shifts else ("i3d", CASES["mmaction2 I3D"][3])
    tensors = drawn(video(kind, form, flat=shifts), generator)
    write_torch(tmp_path / "net.pth", tensors, partial(mmaction2, shifts=shifts))
    x = torch.randn(1, 3, 8, 64, 96, generator=generator)
    options = {"form": form} if form == "dot_product" else {}
    reference = Reference(tensors, form=form, shifts=shifts)
    check(tmp_path / "net.pth", reference, x, options, pace)


@pytest.mark.parametrize("kind", ["i3d", "c2d"])
@pytest.mark.parametrize(
    ("code", "pace"),
    [
        ("sparse", {"padding": 0, "stage_pool": 2}),
        ("paper", {"conv_time": 2, "pool": (2, 2), "padding": 0, "stage_pool": 2}),
        ("slowfast", {"stage_pool": 2}),
    ],
)
def test_caffe2s_files_are_whole_networks(tmp_path, generator, kind, code, pace):
    tensors = drawn(video(kind), generator)
    write_caffe2(tmp_path / "c2.pkl", tensors)
    x = torch.randn(1, 3, 16, 64, 96, generator=generator)
    reference = Reference(tensors, scaled=True, pool_first=True)
    options = {} if code == "sparse" else {"code": code}
    network, _ = check(tmp_path / "c2.pkl", reference, x, options, pace)
    assert f"time runs as in the networks of the code '{code}'" in network.decisions


def test_networks_for_long_clips_are_affine_and_attend_by_groups_of_frames(tmp_path, generator):
    table = {name: shape for name, shape in video("i3d").items() if "running" not in name}
    table = {name: shape for name, shape in table.items() if ".nl.bn." not in name}
    tensors = drawn(table, generator)
    write_caffe2(tmp_path / "long.pkl", tensors)
    x = torch.randn(1, 3, 16, 64, 96, generator=generator)
    reference = Reference(tensors, scaled=True, pool_first=True)
    pace = {"padding": 0, "stage_pool": 2, "group": 4}
    network, records = check(tmp_path / "long.pkl", reference, x, {}, pace)
    assert [record.block for record in records] == [
        *["layer2.1_non_local.block"] * 2,
        "layer3.0_non_local",
    ]
    spans = [(grid.first_frame, grid.frame_step) for grid in (r.query_grid for r in records)]
    assert spans[:2] == [(0.0, 2.0), (8.0, 2.0)], "each group has its own frames"
    assert [record.key_grid.first_frame for record in records[:2]] == [0.0, 8.0]
    assert "4 frames at a time" in network.decisions[-1]
    assert network.preprocess.frames == 32


def test_a_clip_becomes_the_input_in_the_colors_of_its_code(tmp_path, generator):
    clip = np.full((3, 60, 80, 3), (255, 0, 51), np.uint8)
    expected = {
        mmaction2: ((1 - 0.485) / 0.229, -0.456 / 0.224, (0.2 - 0.406) / 0.225),
        slowfast: ((1 - 0.45) / 0.225, -2.0, (0.2 - 0.45) / 0.225),
    }
    for name, colors in expected.items():
        write_torch(tmp_path / "net.pth", drawn(video("i3d"), generator), name)
        pixels = load_network(tmp_path / "net.pth").preprocess(clip)
        assert pixels.shape == (1, 3, 3, 192, 256)
        torch.testing.assert_close(pixels[0, :, 1, 7, 5], torch.tensor(colors))


DAMAGES = [
    (lambda t: t.pop("bn1.weight"), "bn1.weight is missing"),
    (lambda t: t.pop("conv1.weight"), "conv1.weight is missing"),
    (lambda t: t.update({"fc.extra": torch.ones(2)}), "is not used"),
    (lambda t: t["layer3.0.nl.value.bias"].fill_(float("nan")), "holds NaN or infinite values"),
    (lambda t: t.update({"fc.weight": torch.ones(7, 9)}), "must have shape"),
    (lambda t: [t.pop(n) for n in list(t) if "layer4" in n], "must be four stages"),
    (lambda t: t.update({"conv1.weight": torch.ones(8, 1, 5, 7, 7)}), "must be 7 x 7 on RGB"),
]


@pytest.mark.parametrize("layout", ["mmaction2", "slowfast", "caffe2"])
@pytest.mark.parametrize(("damage", "message"), DAMAGES)
def test_leftovers_and_gaps_are_named_in_one_sentence(tmp_path, generator, layout, damage, message):
    tensors = drawn(video("i3d"), generator)
    damage(tensors)
    path = tmp_path / "net.pkl"
    if layout == "caffe2":
        write_caffe2(path, tensors)
    else:
        write_torch(path, tensors, {"mmaction2": mmaction2, "slowfast": slowfast}[layout])
    with pytest.raises(ValueError, match=message) as info:
        load_network(path)
    assert "\n" not in str(info.value)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (mmaction2, {"temperature": 1.0}, "mmaction2 has no option 'temperature'; available:"),
        (mmaction2, {"form": "gaussian"}, "form must be one of non_local, dot_product"),
        (slowfast, {"classes": ("a", "b")}, "classes must be 7 names, got 2"),
        (caffe2, {"code": "fast"}, "code must be one of sparse, paper, slowfast, got 'fast'"),
    ],
)
@pytest.mark.usefixtures("as_users_run")
def test_options_that_do_not_fit_are_refused(tmp_path, generator, name, options, message):
    path, tensors = tmp_path / "net.pkl", drawn(video("i3d"), generator)
    write_caffe2(path, tensors) if name is caffe2 else write_torch(path, tensors, name)
    with pytest.raises(ValueError, match=message):
        load_network(path, **options)


def test_layers_lists_the_blocks_of_a_video_file_and_what_was_decided(tmp_path, generator):
    write_caffe2(tmp_path / "c2.pkl", drawn(video("c2d"), generator))
    result = CliRunner().invoke(cli, ["layers", str(tmp_path / "c2.pkl")])
    assert result.exit_code == 0
    for place in PLACES:
        assert f"{place}_non_local  NonLocalBlock" in result.stdout
    assert "note: layout of video-nonlocal-net" in result.stderr
