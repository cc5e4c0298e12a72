"""Attention blocks, a file per paper."""

from models.blocks.attention_block import AttentionBlock as AttentionBlock
from models.blocks.attention_block import Projections as Projections
from models.blocks.disentangled import DisentangledNonLocalBlock as DisentangledNonLocalBlock
from models.blocks.non_local import NonLocalBlock as NonLocalBlock
