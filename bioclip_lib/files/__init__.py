"""What lies on disk: tables, archives and images."""

from .images import first_images

__all__ = ["first_images"]
