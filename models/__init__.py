"""Networks with non-local attention: blocks, backbones, weights, training."""

from models.checkpoint import list_networks as list_networks
from models.checkpoint import load_network as load_network
from models.checkpoints import load_block as load_block
