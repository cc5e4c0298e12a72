"""Trainings that are killed, and what they leave."""

import pytest
import torch

from nonlocal_lens.models.training import loop


def weights(network):
    return torch.cat([tensor.flatten().double() for tensor in network.state_dict().values()])


def killed_and_resumed(run, monkeypatch, *, after):
    """Run a training that dies after some of its savings until it ends; return it and the savings.

    Args:
        run: Begins the training, or goes on with it.
        monkeypatch: Puts back what is changed.
        after: The numbers of the savings that are followed by a death.
    """
    saving, saves = loop.save_state, []

    def save_then_die(*arguments):
        saving(*arguments)
        saves.append(arguments)
        if len(saves) in after:
            raise KeyboardInterrupt

    monkeypatch.setattr(loop, "save_state", save_then_die)
    for _ in after:
        with pytest.raises(KeyboardInterrupt):
            run()
    return run(), saves
