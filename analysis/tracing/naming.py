"""What tokens that are no places are called: by the parameter or input that they come from."""

import re

_CALLED = {
    "cls": "class",
    "class": "class",
    "dist": "distillation",
    "distillation": "distillation",
    "detection": "detection",
    "det": "detection",
    "reg": "register",
    "registers": "register",
    "register": "register",
    "storage": "register",
    "mask": "mask",
    "prompt": "prompt",
    "prompts": "prompt",
    "query": "query",
    "queries": "query",
    "latent": "latent",
    "latents": "latent",
    "probe": "probe",
    "ids": "word",
}
"""A word in a parameter's name -> what the tokens are called that it holds."""

_WEAK = {
    "pos", "position", "positions", "positional", "relative", "temporal", "level", "type", "rel",
    "bias", "coords", "freqs", "rope", "scale", "gamma", "beta", "weight",
}  # fmt: skip
"""Words in the names of parameters that are added to tokens, and are seldom tokens themselves."""

_SAYS_NOTHING = {"token", "tokens", "embed", "embedding", "embeddings", "weight", "module"}


def called(name: str) -> tuple[str, bool]:
    """Return what tokens from a parameter or input are called, and whether they may be tokens.

    >>> called("vit.embeddings.cls_token")
    ('class', True)
    >>> called("object_queries.weight")
    ('query', True)
    >>> called("encoder.pos_embed")
    ('pos_embed', False)
    """
    parts = [part for part in name.split(".") if part not in ("weight", "module")] or [name]
    words = _words(parts[-1])
    for word in words:
        if word in _CALLED and not (set(words) & _WEAK - {"pos", "position"} and word != "query"):
            queried = word in ("query", "queries")
            if queried or not set(words) & _WEAK:
                return _CALLED[word], True
    if set(words) & _WEAK:
        return parts[-1], False
    if set(words) <= _SAYS_NOTHING and len(parts) > 1:
        parts = parts[:-1]
    return parts[-1], True


def _words(name: str) -> list[str]:
    parted = re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
    return [word for word in re.split(r"[_\d]+", parted) if word]
