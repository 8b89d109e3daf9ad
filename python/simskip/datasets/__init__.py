"""Data sets to try simskip on: real images and words, from packages, the cache or the network."""

from .clothes import fashion_mnist
from .folders import ImageFolder, image_folder
from .handwriting import digits
from .idx import read_idx
from .labelled_images import LabelledImages
from .photographs import cifar10
from .words import WordVectors, glove, read_words

__all__ = [
    "ImageFolder",
    "LabelledImages",
    "WordVectors",
    "cifar10",
    "digits",
    "fashion_mnist",
    "glove",
    "image_folder",
    "read_idx",
    "read_words",
]
