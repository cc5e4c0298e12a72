"""Attention blocks, a file per paper."""

from nonlocal_lens.models.blocks.attention_block import AttentionBlock as AttentionBlock
from nonlocal_lens.models.blocks.attention_block import Projections as Projections
from nonlocal_lens.models.blocks.attention_block import attention_blocks as attention_blocks
from nonlocal_lens.models.blocks.disentangled import (
    DisentangledNonLocalBlock as DisentangledNonLocalBlock,
)
from nonlocal_lens.models.blocks.disentangled import PairwiseNonLocalBlock as PairwiseNonLocalBlock
from nonlocal_lens.models.blocks.disentangled import ProductNonLocalBlock as ProductNonLocalBlock
from nonlocal_lens.models.blocks.disentangled import SumNonLocalBlock as SumNonLocalBlock
from nonlocal_lens.models.blocks.disentangled import UnaryNonLocalBlock as UnaryNonLocalBlock
from nonlocal_lens.models.blocks.global_context import GlobalContextBlock as GlobalContextBlock
from nonlocal_lens.models.blocks.global_context import (
    SimplifiedNonLocalBlock as SimplifiedNonLocalBlock,
)
from nonlocal_lens.models.blocks.non_local import (
    ConcatenationNonLocalBlock as ConcatenationNonLocalBlock,
)
from nonlocal_lens.models.blocks.non_local import DotProductNonLocalBlock as DotProductNonLocalBlock
from nonlocal_lens.models.blocks.non_local import GaussianNonLocalBlock as GaussianNonLocalBlock
from nonlocal_lens.models.blocks.non_local import NonLocalBlock as NonLocalBlock
from nonlocal_lens.models.blocks.reach import Parts as Parts
from nonlocal_lens.models.blocks.reach import Reach as Reach
from nonlocal_lens.models.blocks.restricted import SpaceOnlyNonLocalBlock as SpaceOnlyNonLocalBlock
from nonlocal_lens.models.blocks.restricted import TimeOnlyNonLocalBlock as TimeOnlyNonLocalBlock
from nonlocal_lens.models.blocks.self_attention_gan import SelfAttentionBlock as SelfAttentionBlock
from nonlocal_lens.models.blocks.shared_key import SharedKeyNonLocalBlock as SharedKeyNonLocalBlock
