"""When a model is trained again: another one is wanted, or enough of the data has changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .configuration import Configuration
from .differences import differences
from .state import Facts, changed_label_share, changed_share

if TYPE_CHECKING:
    from .stages import Context

__all__ = ["Retraining"]


@dataclass(frozen=True)
class Retraining:
    """The rule for one model.

    A model of other parameters, or of vectors of another embedder, is always trained; otherwise as ``retrain`` in its
    section says: ``"never"``, ``"when-data-changed"`` (any item), or once the share of items that are new, changed or
    gone since the training exceeds a number. For a model that learns from labels, changed labels count too.

    Attributes
    ----------
    stage : str
        That trains it.
    model : {"hasher", "classifier"}
        Its name in the file, in the collection, and in messages.
    supervised : callable
        Section -> whether it learns from labels.
    """

    stage: str
    model: str
    supervised: Callable[[Any], bool]

    def inputs(self, context: Context, facts: Facts) -> dict[str, Any]:
        """What the trained model depends on: the file's section without ``retrain``, and the data."""
        section = self._section(context.configuration)
        wanted = section.model_dump(exclude={"retrain"}) if section else None
        return {self.model: wanted, "embedder": facts.embedder, "items": facts.items, "revision": facts.revision}

    def due(self, context: Context, facts: Facts) -> str | None:
        """Why it must be trained (again), or None."""
        section = self._section(context.configuration)
        current = getattr(facts, self.model)
        if current is None:
            return f"there is no {self.model} yet"
        done = context.state.done(self.stage)
        if done is None or done.details.get("fingerprint") != current:
            return f"the {self.model} in the collection is not from this file"
        reason = differences(_without_counts(done.inputs), _without_counts(self.inputs(context, facts)))
        if reason or section.retrain == "never":
            return reason
        share, what = self._changed(context)
        limit = 0.0 if section.retrain == "when-data-changed" else section.retrain
        if share <= limit:
            return None
        asked = "" if limit == 0 else f", more than {limit:.0%}"
        return f"{_percent(share)} of the {what} changed since it was trained{asked}"

    def idle(self, context: Context) -> str:
        """Why it need not be trained again."""
        share, what = self._changed(context)
        if not share:
            return "nothing has changed"
        retrain = self._section(context.configuration).retrain
        why = "retrain: never" if retrain == "never" else f"retrained above {retrain:.0%}"
        return f"{_percent(share)} of the {what} changed since it was trained; {why}"

    def _section(self, configuration: Configuration) -> Any:
        return getattr(configuration, self.model)

    def _changed(self, context: Context) -> tuple[float, str]:
        """The share of items, or of labels where that is larger and labels were learned from, that have changed."""
        section, done = self._section(context.configuration), context.state.done(self.stage)
        if section is None or done is None:
            return 0.0, "items"
        share = changed_share(context.collection, int(done.inputs["revision"]), int(done.inputs["items"]))
        if self.supervised(section):
            labels = changed_label_share(context.state, self.stage, context.collection)
            if labels > share:
                return labels, "labels"
        return share, "items"


def _without_counts(inputs: dict[str, Any]) -> dict[str, Any]:
    """Without what is judged by how many items have changed."""
    return {name: value for name, value in inputs.items() if name not in ("items", "revision")}


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.01 else "less than 1%"
