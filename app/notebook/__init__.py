"""The viewer under a notebook's cell.

`from nonlocal_lens.app.notebook import atlas, explore`
"""

from nonlocal_lens.app.notebook.atlas import NetworkAtlas as NetworkAtlas
from nonlocal_lens.app.notebook.atlas import atlas as atlas
from nonlocal_lens.app.notebook.exploration import Exploration as Exploration
from nonlocal_lens.app.notebook.opening import explore as explore
from nonlocal_lens.app.notebook.opening import explore_file as explore_file
