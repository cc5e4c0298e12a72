"""Networks of other libraries by name: what is built, what it is given, and what is refused."""

import json
import subprocess
import sys
from threading import Thread

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from nonlocal_lens.analysis import capture
from nonlocal_lens.analysis.prepared import prepared
from nonlocal_lens.app.batch.networks import load
from nonlocal_lens.app.cli import cli
from nonlocal_lens.models import load_network
from nonlocal_lens.models.libraries import LibraryName

pytestmark = pytest.mark.slow

timm = pytest.importorskip("timm")
transformers = pytest.importorskip("transformers")

IMAGE = np.random.default_rng(0).integers(0, 256, (61, 83, 3), dtype=np.uint8)
TINY = "num_hidden_layers=2&hidden_size=24&num_attention_heads=3&intermediate_size=24&image_size=64"
VIT = "timm:vit_tiny_patch16_224?pretrained=false&depth=2&embed_dim=24&num_heads=3&num_classes=7"


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))


@pytest.fixture
def folder(tmp_path):
    """Return a folder with a small classifier and its processor, as transformers saves them."""
    config = transformers.ViTConfig(
        num_hidden_layers=1,
        hidden_size=24,
        num_attention_heads=3,
        intermediate_size=24,
        image_size=64,
        id2label={0: "cat", 1: "dog", 2: "owl"},
        label2id={"cat": 0, "dog": 1, "owl": 2},
    )
    torch.manual_seed(3)
    model = transformers.ViTForImageClassification(config).eval()
    model.save_pretrained(tmp_path / "cats")
    about = {
        "image_processor_type": "ViTImageProcessor",
        "image_mean": [0.1, 0.2, 0.3],
        "image_std": [0.5, 0.6, 0.7],
        "size": {"height": 64, "width": 64},
    }
    (tmp_path / "cats" / "preprocessor_config.json").write_text(json.dumps(about))
    return tmp_path / "cats", model


def test_names_and_options_are_read_as_in_a_web_address():
    named = LibraryName.read(
        "timm:vit.a1?pretrained=false&depth=4&drop=0.5&pool=avg&x=none&s=(3, 5)"
    )
    assert (named.prefix, named.name, named.title) == ("timm", "vit.a1", "vit.a1")
    assert named.options == {
        **{"pretrained": False, "depth": 4, "drop": 0.5, "pool": "avg", "x": None, "s": (3, 5)}
    }
    assert str(LibraryName.read("hf:a/b")) == "hf:a/b"
    assert LibraryName.read("hf:a/b/").title == "b"
    for other in ("streets-nl", "C:\\weights.pth", "timm:", "weights/a.pth"):
        assert LibraryName.read(other) is None
    with pytest.raises(ValueError, match=r"options of timm:a\?b must be NAME=VALUE"):
        _ = LibraryName.read("timm:a?b").options


SIX = [
    (VIT, "blocks.0.attn"),
    (VIT.replace("vit_tiny", "deit_tiny"), "blocks.0.attn"),
    ("torchvision:vit_b_32?pretrained=false&num_classes=5", "encoder.layers.encoder_layer_0"),
    (f"hf:vit?pretrained=false&{TINY}", "layers.0.attention"),
    (f"hf:deit?pretrained=false&{TINY}", "attention"),
    (f"hf:siglip_vision_model?pretrained=false&{TINY}", "layers.0.self_attn"),
]


@pytest.mark.parametrize(("name", "block"), SIX)
@pytest.mark.filterwarnings("ignore")
def test_small_networks_of_all_libraries_open_and_are_read(name, block):
    network = load_network(name)
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    records = capture(network, IMAGE)
    assert block in records[0].block
    assert "weights: random, seed 0" in network.decisions
    assert network.provenance["name"] == name
    again = load_network(name)
    assert again.provenance["sha256"] == network.provenance["sha256"]
    assert load_network(name, seed=1).provenance["sha256"] != network.provenance["sha256"]


DINO = f"hf:dinov2?pretrained=false&{TINY.replace('&intermediate_size=24', '')}"

SIZED = [
    (f"{VIT}&size=96x128", (6, 8)),
    ("timm:pvt_v2_b0?pretrained=false&size=64x96", (16, 24)),
    ("torchvision:vit_b_32?pretrained=false&num_classes=5&size=96", (3, 3)),
    ("torchvision:swin_t?pretrained=false&num_classes=5&size=56x112", (14, 28)),
    (f"hf:vit?pretrained=false&{TINY}&size=96x128", (6, 8)),
    (f"{DINO}&patch_size=16&size=96x128", (6, 8)),
]


@pytest.mark.parametrize(("name", "cells"), SIZED)
@pytest.mark.filterwarnings("ignore")
def test_pictures_go_through_in_the_size_that_is_asked_for(name, cells):
    network = load_network(name)
    record = capture(network, IMAGE)[0]
    assert record.query_grid.shape[1:] == cells
    said = "pictures are stretched to"
    assert [one.endswith("as size asks") for one in network.decisions if said in one] == [True]


def test_autocast_is_a_choice_that_the_provenance_tells():
    exact, cast = load_network(VIT), load_network(f"{VIT}&autocast=bfloat16")
    assert cast.provenance["autocast"] == "bfloat16"
    assert "autocast" not in exact.provenance
    assert cast.decisions[-1] == "computed in bfloat16 where torch's autocast does so"
    one, other = capture(exact, IMAGE)[-1], capture(cast, IMAGE)[-1]
    off = (one.query - other.query).abs().max() / one.query.abs().max()
    assert 0 < off < 0.03
    x = prepared(cast, IMAGE)[1]
    with torch.no_grad():
        assert cast(x).dtype == torch.float32
        torch.testing.assert_close(cast(x), exact(x), atol=0.02, rtol=0.02)
    with pytest.raises(ValueError, match=r"autocast must be one of bfloat16, float16, got 8"):
        load_network(f"{VIT}&autocast=8")


def test_position_embeddings_are_stretched_with_torchvisions_weights(monkeypatch):
    from torchvision.models import VisionTransformer, ViT_B_32_Weights

    state = VisionTransformer(224, 32, 12, 12, 768, 3072).state_dict()
    monkeypatch.setattr(ViT_B_32_Weights, "get_state_dict", lambda self, **_: dict(state))
    network = load_network("torchvision:vit_b_32?size=96")
    assert network.encoder.pos_embedding.shape == (1, 10, 768)
    assert torch.equal(network.class_token, state["class_token"])


@pytest.mark.parametrize("size", ["0", "a", "100000", "3x", "-4"])
def test_a_size_that_is_none_is_refused_in_a_sentence(size):
    with pytest.raises(ValueError, match=r"size must be N or HxW in pixels, at most 4096, got"):
        load_network(f"{VIT}&size={size}")
    with pytest.raises(ValueError, match=r"its size must be a square, got 64x96"):
        load_network("torchvision:vit_b_32?pretrained=false&size=64x96")


def test_a_folder_of_hugging_face_is_its_own_network_processor_and_names(folder):
    path, model = folder
    network = load_network(f"hf:{path}")
    assert network.classes == ("cat", "dog", "owl")
    pixels = np.resize(IMAGE, (64, 64, 3))
    expected = (pixels / 255 - [0.1, 0.2, 0.3]) / [0.5, 0.6, 0.7]
    x = prepared(network, pixels)[1]
    torch.testing.assert_close(x[0], torch.from_numpy(expected).permute(2, 0, 1).float())
    processor = transformers.ViTImageProcessor.from_pretrained(path)
    theirs = processor(pixels, return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(x, theirs, atol=1e-5, rtol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(network(x), model(x).logits)
    weights = path / "model.safetensors"
    digest = subprocess.run(["sha256sum", weights], capture_output=True, text=True, check=True)
    assert network.provenance["sha256"] == digest.stdout.split()[0]
    loaded = load(f"hf:{path}")
    assert (loaded.title, loaded.sha256) == ("cats", network.provenance["sha256"])
    random = load_network(f"hf:{path}?pretrained=false")
    assert random.provenance["sha256"] != network.provenance["sha256"]


def test_the_part_that_looks_is_taken_of_models_that_take_more(tmp_path):
    vision = dict(pair.split("=") for pair in TINY.split("&"))
    config = transformers.CLIPConfig(
        vision_config={name: int(value) for name, value in vision.items()},
        text_config={"num_hidden_layers": 1, "hidden_size": 24, "num_attention_heads": 3},
    )
    transformers.CLIPModel(config).save_pretrained(tmp_path / "clip")
    network = load_network(f"hf:{tmp_path / 'clip'}")
    assert len(capture(network, IMAGE)) == 6
    assert network.preprocess.mean == pytest.approx((0.48145466, 0.4578275, 0.40821073))


def test_files_of_weights_fill_networks_wherever_they_lie_in_them(tmp_path):
    plain = load_network(VIT, seed=5)
    torch.save(
        {"state_dict": {f"module.{n}": t for n, t in plain.state_dict().items()}},
        tmp_path / "a.pth",
    )
    network = load_network(VIT, file=str(tmp_path / "a.pth"))
    for name, tensor in plain.state_dict().items():
        assert torch.equal(network.state_dict()[name], tensor), name
    with pytest.raises(FileNotFoundError, match=r"which timm:.* is to be filled from"):
        load_network(VIT, file="nowhere.pth")


def test_torchvisions_weights_come_from_its_cache_as_plain_tensors(monkeypatch, tmp_path):
    from torchvision.models import VisionTransformer, ViT_B_32_Weights

    seen = {}
    state = VisionTransformer(224, 32, 12, 12, 768, 3072).state_dict()

    def get_state_dict(self, **options):
        seen.update(options)
        return state

    monkeypatch.setattr(ViT_B_32_Weights, "get_state_dict", get_state_dict)
    network = load_network("torchvision:vit_b_32")
    assert seen["weights_only"] is seen["check_hash"] is True
    assert torch.equal(network.class_token, state["class_token"])
    assert network.classes[:2] == ("tench", "goldfish")
    assert network.provenance["revision"] == "IMAGENET1K_V1"
    with pytest.raises(ValueError, match="has no weights 'MINE'; available: IMAGENET1K_V1"):
        load_network("torchvision:vit_b_32?weights=MINE")


class Bomb:
    """Touches a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return type(self.path).touch, (self.path,)


def test_a_folder_that_would_run_code_is_refused_unrun(folder, tmp_path):
    path, _ = folder
    (path / "model.safetensors").unlink()
    torch.save({"a": Bomb(tmp_path / "touched")}, path / "pytorch_model.bin")
    with pytest.raises(ValueError, match="could run code"):
        load_network(f"hf:{path}")
    assert not (tmp_path / "touched").exists()
    about = json.loads((path / "config.json").read_text())
    about |= {"model_type": "mine", "auto_map": {"AutoConfig": "code.Mine", "AutoModel": "code.M"}}
    (path / "config.json").write_text(json.dumps(about))
    (path / "code.py").write_text(f"open({str(tmp_path / 'touched')!r}, 'w')")
    with pytest.raises(ValueError, match="cannot be loaded"):
        load_network(f"hf:{path}")
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize(
    ("name", "kind", "sentence"),
    [
        (
            "timm:vit_tiny_patch16_22",
            ValueError,
            "no network 'vit_tiny_patch16_22'; did you mean timm:",
        ),
        (
            "timm:vit_tiny_patch16_224",
            FileNotFoundError,
            "could not be downloaded: .*pretrained=false",
        ),
        ("timm:vit_tiny_patch16_224?pretrained=false&dept=2", ValueError, "argument 'dept'"),
        ("timm:vit_tiny_patch16_224?pretrained=3", ValueError, "pretrained must be bool, got 3"),
        (
            "torchvision:vit_b_99",
            ValueError,
            "no network 'vit_b_99'; did you mean torchvision:vit_",
        ),
        ("hf:vitt", ValueError, "no network 'vitt'; did you mean hf:vit"),
        ("hf:nobody/nothing", FileNotFoundError, "neither a folder nor in the hub's cache"),
        (
            "hf:vit?pretrained=false&dept=2",
            ValueError,
            "no option 'dept'; available: .*hidden_size",
        ),
    ],
)
def test_what_is_not_there_is_said_in_a_sentence(name, kind, sentence):
    with pytest.raises(kind, match=sentence) as caught:
        load_network(name)
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_no_models_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"has no config\.json"):
        load_network(f"hf:{tmp_path}")


@pytest.mark.parametrize("prefix", ["timm", "hf"])
def test_without_the_library_its_installation_is_told(monkeypatch, prefix):
    package = {"timm": "timm", "hf": "transformers"}[prefix]
    monkeypatch.setattr(
        "nonlocal_lens.models.libraries.find_spec", lambda name: None if name == package else 1
    )
    with pytest.raises(ImportError, match=rf"pip install nonlocal-lens\[{package}\]"):
        load_network(f"{prefix}:a")
    result = CliRunner().invoke(cli, ["layers", f"{prefix}:a"])
    assert result.exit_code == 2
    assert f"pip install nonlocal-lens[{package}]" in result.stderr


def test_layers_lists_heads_and_tokens_of_any_network():
    result = CliRunner().invoke(cli, ["layers", VIT])
    assert result.exit_code == 0, result.stderr
    first = result.stdout.splitlines()[0]
    assert first.startswith("blocks.0.attn  Attention  embedded_gaussian, coupled, scale 0.35")
    assert first.endswith("3 heads, 14 x 14")
    assert "note: weights: random, seed 0" in result.stderr
    rows = json.loads(CliRunner().invoke(cli, ["layers", VIT, "--json"]).stdout)
    assert [(row["block"], row["heads"]) for row in rows] == [
        ("blocks.0.attn", 3),
        ("blocks.1.attn", 3),
    ]


@pytest.mark.filterwarnings("ignore")
def test_stats_and_export_take_names_of_libraries(tmp_path):
    from PIL import Image

    Image.fromarray(IMAGE).save(tmp_path / "a.png")
    out = tmp_path / "stats.csv"
    given = ["stats", str(tmp_path / "a.png"), "--network", VIT, "--out", str(out), "--jobs", "1"]
    result = CliRunner().invoke(cli, given)
    assert result.exit_code == 0, result.stderr
    assert "vit_tiny_patch16_224: weights: random, seed 0" in result.stderr
    assert out.read_text().count("blocks.1.attn") == 3
    folder = tmp_path / "figures"
    given = ["export", str(tmp_path / "a.png"), "--network", VIT, "--out", str(folder)]
    result = CliRunner().invoke(cli, [*given, "--query", "40,30", "--jobs", "1"])
    assert result.exit_code == 0, result.stderr
    assert list(folder.glob("*.png"))


def test_no_library_is_imported_for_names_of_others():
    code = (
        "import sys; from nonlocal_lens.models import load_network; load_network('streets-nl');"
        "assert not {'timm', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_hub_of_this_machine_is_asked_and_its_revision_told(folder, tmp_path, monkeypatch):
    """A cache as the hub's client lays it out stands for a download: id, revision, snapshot."""
    path, _ = folder
    revision = "0123456789abcdef0123456789abcdef01234567"
    root = tmp_path / "cache" / "models--nobody--cats"
    (root / "snapshots").mkdir(parents=True)
    path.rename(root / "snapshots" / revision)
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text(revision)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    code = (
        "from nonlocal_lens.models import load_network; n = load_network('hf:nobody/cats');"
        "print(n.provenance['revision'], n.preprocess.mean, n.classes)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"{revision} (0.1, 0.2, 0.3) ('cat', 'dog', 'owl')"


def test_names_are_loaded_from_several_threads():
    found = []
    threads = [Thread(target=lambda: found.append(load_network(VIT))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2
