"""The demonstration network of AlexHex7/Non-local_pytorch: `weights/net.pth` and its like."""

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from nonlocal_lens.models.checkpoints import non_local_pytorch
from nonlocal_lens.models.checkpoints.block_layout import moved, under
from nonlocal_lens.models.checkpoints.datasets import classes_by_count
from nonlocal_lens.models.checkpoints.layout import Layout, Plan, Rules, normalization, sides
from nonlocal_lens.models.networks.mnist import DIGITS as PREPROCESS
from nonlocal_lens.models.networks.mnist import POOLED, MNISTNetwork

DIGITS = tuple("0123456789")


def recognizes(names: Sequence[str]) -> bool:
    """Return whether there are the two blocks and what lies around them."""
    children = {name.partition(".")[0] for name in names}
    return children == {"conv_1", "nl_1", "conv_2", "nl_2", "conv_3", "fc"}


def plan(
    tensors: dict[str, Tensor],
    *,
    classes: Sequence[str] | None = None,
    form: str | None = None,
    use_scale: bool | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> Plan:
    """Return the network that the tensors are for.

    Args:
        tensors: By the names in the file.
        classes: Names of the classes; the ten digits if not given.
        form: "dot_product" for blocks of that file of the repository, whose tensors are those of
            the embedded Gaussian.
        use_scale: Whether logits are divided by the root of their channels; not if not given.
        mean: Of gray values in [0, 1], as one number in a list; 0 if not given.
        std: Their deviation, as one number in a list; 1 if not given.

    Raises:
        ValueError: Tensors that tell a size are missing or malformed, or an option is impossible.
    """
    first = sides(tensors, "conv_1.0.weight", 4)
    if first[1:] != (1, 3, 3):
        raise ValueError(f"conv_1 must be 3 x 3 on gray images, got shape {first}")
    widths = [sides(tensors, f"conv_{index}.0.weight", 4)[0] for index in (1, 2, 3)]
    hidden, flat = sides(tensors, "fc.0.weight", 2)
    if flat != widths[-1] * POOLED**2:
        raise ValueError(
            f"fc must take {widths[-1]} x {POOLED} x {POOLED} = {widths[-1] * POOLED**2} features "
            f"of an image of 28 x 28 pixels, got {flat}"
        )
    class_count = sides(tensors, "fc.3.weight", 2)[0]
    decisions: list[str] = []
    if classes is None:
        digits = class_count == len(DIGITS)
        classes, source = (DIGITS, "the ten digits") if digits else classes_by_count(class_count)
        decisions.append(source)
    elif len(classes) != class_count:
        raise ValueError(f"classes must be {class_count} names, got {len(classes)}")
    rules: Rules = []
    blocks = []
    for name in ("nl_1.", "nl_2."):
        found = non_local_pytorch.plan(under(tensors, name), form=form, use_scale=use_scale)
        blocks.append(found.block)
        rules = [*rules, *moved(found.rules, name, name)]
        decisions += [decision for decision in found.decisions if decision not in decisions]
    network = MNISTNetwork(widths, hidden, blocks, tuple(classes))
    *chosen, said = normalization(
        mean, std, (PREPROCESS.mean, PREPROCESS.std), "values in [0, 1]: no"
    )
    network.preprocess = replace(network.preprocess, mean=chosen[0], std=chosen[1])
    return Plan(network, rules, decisions=(*decisions, *said))


LAYOUT = Layout("AlexHex7/Non-local_pytorch's MNIST network", recognizes, plan)
