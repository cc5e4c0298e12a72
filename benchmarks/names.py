"""Open networks of three libraries by name, with random weights, and show all their heads.

`python -m benchmarks.names [NAME ...]` loads each, captures what its heads do on one picture, and
makes the wall of the app of it. Capture keeps no head whose numbers do not give the network's own
output again; what it left out is counted. The exit status is 1 if a name that is given shows
nothing or, of those below, fewer than 25 show their heads.
"""

import sys
import time
import warnings

import numpy as np

from nonlocal_lens.analysis import terms
from nonlocal_lens.analysis.atlas import layers, measure_heads, placed
from nonlocal_lens.analysis.capture import observe, takes_clips
from nonlocal_lens.app.atlas import payload
from nonlocal_lens.models import load_network

WITHOUT_MLP = "num_hidden_layers=2&hidden_size=48&num_attention_heads=3"
SMALL = f"{WITHOUT_MLP}&intermediate_size=48"

NAMES = (
    "timm:vit_tiny_patch16_224?depth=2",
    "timm:vit_small_patch32_224?depth=2",
    "timm:deit_tiny_patch16_224?depth=2",
    "timm:deit3_small_patch16_224?depth=2",
    "timm:vit_small_patch14_dinov2?depth=2&img_size=224",
    "timm:vit_small_patch14_reg4_dinov2?depth=2&img_size=224",
    "timm:vit_base_patch16_siglip_224?depth=2",
    "timm:vit_base_patch16_clip_224?depth=2",
    "timm:beit_base_patch16_224?depth=2",
    "timm:beitv2_base_patch16_224?depth=2",
    "timm:eva02_tiny_patch14_224?depth=2",
    "timm:eva_giant_patch14_224?depth=1&embed_dim=96&num_heads=3",
    "timm:vit_small_patch16_dinov3?depth=2",
    "timm:cait_xxs24_224?depth=2",
    "timm:swin_tiny_patch4_window7_224",
    "timm:swinv2_tiny_window8_256",
    "timm:levit_128s",
    "timm:pvt_v2_b0",
    "timm:twins_svt_small",
    "timm:maxvit_tiny_tf_224",
    "timm:mobilevit_s",
    "timm:samvit_base_patch16_224?depth=2",
    "torchvision:vit_b_16",
    "torchvision:vit_b_32",
    "torchvision:swin_t",
    "torchvision:swin_v2_t",
    "torchvision:maxvit_t?input_size=(224, 224)",
    f"hf:vit?{SMALL}",
    f"hf:deit?{SMALL}",
    f"hf:beit?{SMALL}",
    f"hf:dinov2?{WITHOUT_MLP}&image_size=224",
    f"hf:dinov2_with_registers?{WITHOUT_MLP}&image_size=224",
    f"hf:siglip_vision_model?{SMALL}",
    f"hf:clip_vision_model?{SMALL}",
    f"hf:vit_mae?{SMALL}",
    f"hf:vit_msn?{SMALL}",
    f"hf:ijepa?{SMALL}",
    f"hf:yolos?{SMALL}",
    f"hf:dpt?{SMALL}",
    "hf:swin",
    "hf:segformer",
    "hf:pvt",
    "hf:glpn",
)
"""Names of all three libraries; `pretrained=false` is added to each."""


LEAST = 25
"""So many of them must show their heads; the others say why they do not."""


def main(names: list[str]) -> int:
    """Print what each name shows; return the exit status."""
    image = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    shown = 0
    print(f"{'network':<60}{'layers':>7}{'heads':>6}{'left out':>10}{'row sums':>10}{'s':>7}")
    for name in names or NAMES:
        full = f"{name}{'&' if '?' in name else '?'}pretrained=false"
        start = time.perf_counter()
        try:
            counts = look(full, image)
        except Exception as error:
            print(f"{name:<60} {type(error).__name__}: {str(error).splitlines()[0][:120]}")
            continue
        shown += counts[1] > 0
        seconds = time.perf_counter() - start
        layer, heads, left_out, error = counts
        print(f"{name:<60}{layer:>7}{heads:>6}{left_out:>10}{error:>10.1e}{seconds:>7.1f}")
    print(f"{shown} of {len(names or NAMES)} names show their heads")
    return int(shown < (len(names) or LEAST))


def look(name: str, image: np.ndarray) -> tuple[int, int, int, float]:
    """Return layers, heads, kinds of blocks left out, and how far any row's sum is from its own."""
    network = load_network(name)
    if takes_clips(network):
        raise ValueError("it looks at clips, and the wall shows pictures")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        records = placed(observe(network, image).records)
    if not records:
        said = "; ".join(str(one.message) for one in caught) or "no attention block"
        raise ValueError(f"nothing to show: {said}")
    subject = payload.Subject(name, image, "noise", "Noise", records, random=True)
    payload.first_part(subject)
    first = payload.parts(records)[0]
    payload.part(subject, 0, measure_heads([records[index] for index in first]))
    error = max(
        float((terms.attention(one, [0]).sum() - one.row_sum).abs())
        for one in records
        if not one.signed
    )
    return len(set(layers(records))), len(records), len(caught), error


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
