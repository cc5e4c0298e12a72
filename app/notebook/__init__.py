"""The viewer, or a film strip, under a notebook's cell: `from app.notebook import explore`."""

from app.notebook.clip_exploration import ClipExploration as ClipExploration
from app.notebook.exploration import Exploration as Exploration
from app.notebook.exploration import explore as explore
from app.notebook.exploration import explore_file as explore_file
