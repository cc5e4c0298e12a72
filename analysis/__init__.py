"""Attention as records, their pairwise and unary terms, and how degenerate they are."""

from analysis import degeneracy as degeneracy
from analysis import terms as terms
from analysis.capture import capture as capture
from analysis.record import AttentionRecord as AttentionRecord
