"""What is wrong with an image that somebody sent."""

from __future__ import annotations


class ImageRefused(ValueError):
    """An image cannot be taken; the text completes "the image …"."""
