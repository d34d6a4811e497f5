"""The embedded tree of life: settings and a seed go in; taxa, genomes and their portraits come out.

`tree` grows it, names its taxa with `names` and writes a folder of photographs as a user would bring; `render` makes an
image of a genome, with the body plans of `bodies` on the `canvas`.
"""

from .tree import grow_tree, render_images, write_images

__all__ = ["grow_tree", "render_images", "write_images"]
