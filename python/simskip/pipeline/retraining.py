"""When a hasher is trained again: another hasher is wanted, or enough of the data has changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .differences import differences
from .hashers import is_supervised
from .state import Facts, changed_label_share, changed_share

if TYPE_CHECKING:
    from .stages import Context

__all__ = ["retraining_due", "training_inputs"]

_COUNTS = ("items", "revision")  # judged by how many items changed


def training_inputs(context: Context, facts: Facts) -> dict[str, Any]:
    """What a trained hasher depends on: the file's section without ``retrain``, and the data."""
    section = context.configuration.hasher
    wanted = section.model_dump(exclude={"retrain"}) if section else None
    return {"hasher": wanted, "embedder": facts.embedder, "items": facts.items, "revision": facts.revision}


def retraining_due(context: Context, facts: Facts) -> str | None:
    """Why the hasher must be trained (again), or None.

    A hasher of other parameters, or of vectors of another embedder, always; otherwise as ``retrain`` in the file says:
    ``"never"``, ``"when-data-changed"`` (any item), or once the share of items that are new, changed or gone since
    the training exceeds a number. For a hasher that learns from labels, changed labels count too.
    """
    section = context.configuration.hasher
    assert section is not None
    if facts.hasher is None:
        return "there is no hasher yet"
    done = context.state.done("train")
    if done is None:
        return "the hasher in the collection is not from this file"
    now = training_inputs(context, facts)
    reason = differences(
        {name: value for name, value in done.inputs.items() if name not in _COUNTS},
        {name: value for name, value in now.items() if name not in _COUNTS},
    )
    if reason or section.retrain == "never":
        return reason
    share = changed_share(context.collection, int(done.inputs["revision"]), int(done.inputs["items"]))
    what = "items"
    if is_supervised(section.name):
        labels = changed_label_share(context.state, "train", context.collection)
        if labels > share:
            share, what = labels, "labels"
    limit = 0.0 if section.retrain == "when-data-changed" else section.retrain
    if share <= limit:
        return None
    asked = "" if limit == 0 else f", more than {limit:.0%}"
    return f"{_percent(share)} of the {what} changed since it was trained{asked}"


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.01 else "less than 1%"
