"""What codes cost and gain: metrics, ``evaluate()`` against exact float search, and the report."""

from __future__ import annotations

from . import metrics
from .bucket_search import BucketSearch
from .evaluate import evaluate
from .report import Report
from .rows import Row
from .verdict import Verdict

__all__ = ["BucketSearch", "Report", "Row", "Verdict", "evaluate", "metrics"]
