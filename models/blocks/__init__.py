"""Attention blocks, a file per paper."""

from models.blocks.attention_block import AttentionBlock as AttentionBlock
from models.blocks.attention_block import Projections as Projections
from models.blocks.disentangled import DisentangledNonLocalBlock as DisentangledNonLocalBlock
from models.blocks.disentangled import PairwiseNonLocalBlock as PairwiseNonLocalBlock
from models.blocks.disentangled import ProductNonLocalBlock as ProductNonLocalBlock
from models.blocks.disentangled import SumNonLocalBlock as SumNonLocalBlock
from models.blocks.disentangled import UnaryNonLocalBlock as UnaryNonLocalBlock
from models.blocks.global_context import GlobalContextBlock as GlobalContextBlock
from models.blocks.global_context import SimplifiedNonLocalBlock as SimplifiedNonLocalBlock
from models.blocks.non_local import ConcatenationNonLocalBlock as ConcatenationNonLocalBlock
from models.blocks.non_local import DotProductNonLocalBlock as DotProductNonLocalBlock
from models.blocks.non_local import GaussianNonLocalBlock as GaussianNonLocalBlock
from models.blocks.non_local import NonLocalBlock as NonLocalBlock
from models.blocks.self_attention_gan import SelfAttentionBlock as SelfAttentionBlock
from models.blocks.shared_key import SharedKeyNonLocalBlock as SharedKeyNonLocalBlock
