"""The embedded tree of life."""

from .tree import grow_tree, render_images, write_images

__all__ = ["grow_tree", "render_images", "write_images"]
