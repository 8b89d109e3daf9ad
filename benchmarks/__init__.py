"""Benchmarks: every figure of the README and the documentation comes from here. Run ``make bench``."""
