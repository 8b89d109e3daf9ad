"""``python -m benchmarks``: the benchmarks that ``make bench`` runs."""

from . import hamming

hamming.main()
