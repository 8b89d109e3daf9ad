"""What codes cost and gain: metrics, ``evaluate()`` against exact float search, and the report."""

from __future__ import annotations

from . import metrics

__all__ = ["metrics"]
