"""Blocks that are not of this package, recognized by their attributes, a file per kind.

`register` adds one more; see its example.
"""

from analysis.adapters import bottleneck as bottleneck
from analysis.adapters import disentangled as disentangled
from analysis.adapters import generalized as generalized
from analysis.adapters import maxvit as maxvit
from analysis.adapters import non_local as non_local
from analysis.adapters import reduced as reduced
from analysis.adapters import transformers as transformers
from analysis.adapters import windows as windows
from analysis.adapters.adapter import Call as Call
from analysis.adapters.adapter import Heads as Heads
from analysis.adapters.adapter import UnreadableBlockError as UnreadableBlockError
from analysis.adapters.adapter import reader_for as reader_for
from analysis.adapters.adapter import register as register
from analysis.adapters.adapter import token_grid as token_grid
from analysis.adapters.preprocess import foreign_preprocess as foreign_preprocess
