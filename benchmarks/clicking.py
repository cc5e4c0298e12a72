"""The usual way to click in a Streamlit page: a picture that the server renders anew.

Streamlit runs this file. streamlit-image-coordinates tells where the picture was clicked; the row
of that pixel is computed and painted, and the picture sent again.
"""

import numpy as np
import streamlit as st
import torch
from matplotlib import colormaps
from PIL import Image
from streamlit_image_coordinates import streamlit_image_coordinates

from nonlocal_lens.analysis import AttentionRecord, terms
from nonlocal_lens.analysis.grid import Grid

SIDE, CHANNELS = 64, 64


@st.cache_resource
def record() -> AttentionRecord:
    """Return a block of 64 x 64 cells."""
    torch.manual_seed(0)
    query, key = torch.randn(2, SIDE * SIDE, CHANNELS)
    grid = Grid.tiling((8 * SIDE, 8 * SIDE), SIDE, SIDE)
    return AttentionRecord("block", "gaussian", "coupled", 0.125, query, key, None, grid, grid)


cell = st.session_state.get("cell", 0)
row = terms.attention(record(), [cell])[0].view(SIDE, SIDE).numpy()
colors = (colormaps["viridis"](row / row.max())[..., :3] * 255).astype(np.uint8)
picture = Image.fromarray(colors).resize((8 * SIDE, 8 * SIDE), Image.Resampling.NEAREST)
clicked = streamlit_image_coordinates(picture, key="picture")
if clicked is not None and (now := clicked["y"] // 8 * SIDE + clicked["x"] // 8) != cell:
    st.session_state.cell = now
    st.rerun()
st.write(f"cell {cell}")
