"""Words as vectors: GloVe from an npm package, and files of GloVe, word2vec and NumPy."""

from .glove_package import glove
from .read_words import read_words
from .word_vectors import WordVectors

__all__ = ["WordVectors", "glove", "read_words"]
