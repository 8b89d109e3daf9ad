"""When a hasher is trained again: another hasher is wanted, or enough of the data has changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .differences import differences
from .hashers import is_supervised
from .state import Facts, changed_label_share, changed_share

if TYPE_CHECKING:
    from .stages import Context

__all__ = ["kept", "retraining_due", "training_inputs"]

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
    if done is None or done.details.get("fingerprint") != facts.hasher:
        return "the hasher in the collection is not from this file"
    now = training_inputs(context, facts)
    reason = differences(
        {name: value for name, value in done.inputs.items() if name not in _COUNTS},
        {name: value for name, value in now.items() if name not in _COUNTS},
    )
    if reason or section.retrain == "never":
        return reason
    share, what = _changed(context)
    limit = 0.0 if section.retrain == "when-data-changed" else section.retrain
    if share <= limit:
        return None
    asked = "" if limit == 0 else f", more than {limit:.0%}"
    return f"{_percent(share)} of the {what} changed since it was trained{asked}"


def kept(context: Context) -> str:
    """Why the hasher need not be trained again."""
    share, what = _changed(context)
    section = context.configuration.hasher
    if not share or section is None:
        return "nothing has changed"
    why = "retrain: never" if section.retrain == "never" else f"retrained above {section.retrain:.0%}"
    return f"{_percent(share)} of the {what} changed since it was trained; {why}"


def _changed(context: Context) -> tuple[float, str]:
    """The share of items, or of labels where that is larger and labels were learned from, that have changed."""
    section, done = context.configuration.hasher, context.state.done("train")
    if section is None or done is None:
        return 0.0, "items"
    share = changed_share(context.collection, int(done.inputs["revision"]), int(done.inputs["items"]))
    if is_supervised(section.name):
        labels = changed_label_share(context.state, "train", context.collection)
        if labels > share:
            return labels, "labels"
    return share, "items"


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.01 else "less than 1%"
