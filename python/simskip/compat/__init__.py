"""Files of other tools, read and written without them."""

from . import faiss

__all__ = ["faiss"]
