"""Run an application: each stage in order, and only those whose inputs have changed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from ..validation import choice
from .configuration import Configuration, read_configuration
from .differences import differences
from .exports import EXPORTS
from .stages import STAGES, Context, Stage

__all__ = ["ALL", "Outcome", "Run", "run", "stage_names"]

ALL = "all"
_PIPELINE = [*STAGES, *EXPORTS]


@dataclass(frozen=True)
class Outcome:
    """What became of a stage.

    Attributes
    ----------
    stage : str
    status : {"ran", "skipped", "runs", "may run"}
        The last two: of a dry run.
    reason : str
        Why it ran or was skipped.
    summary : str
        What came out: now, or when it last ran.
    details : dict
        Figures, ready for JSON.
    seconds : float
    """

    stage: str
    status: str
    reason: str
    summary: str = ""
    details: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True)
class Run:
    """What a run did.

    Attributes
    ----------
    configuration : Configuration
    outcomes : list of Outcome
        In the order of the stages, without those that the file does not ask for.
    """

    configuration: Configuration
    outcomes: list[Outcome]

    def __getitem__(self, stage: str) -> Outcome:
        choice(stage, "stage", tuple(outcome.stage for outcome in self.outcomes))
        return next(outcome for outcome in self.outcomes if outcome.stage == stage)

    @property
    def ran(self) -> list[str]:
        """Stages that ran."""
        return [outcome.stage for outcome in self.outcomes if outcome.status == "ran"]

    def as_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return {
            "application": str(self.configuration.path),
            "collection": str(self.configuration.collection),
            "stages": [
                {
                    "stage": outcome.stage,
                    "status": outcome.status,
                    "reason": outcome.reason,
                    "summary": outcome.summary,
                    "seconds": round(outcome.seconds, 3),
                    **outcome.details,
                }
                for outcome in self.outcomes
            ],
        }

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Heads and lines."""
        return ["stage", "", "why", "result"], [[o.stage, o.status, o.reason, o.summary] for o in self.outcomes]

    def __repr__(self) -> str:
        return "\n".join(f"{o.stage:<16} {o.status:<8} {o.reason}" for o in self.outcomes)


def stage_names() -> list[str]:
    """The stages in order; ``"exports"`` stands for all exports."""
    return [*(stage.name for stage in STAGES), "exports"]


def run(
    application: str | os.PathLike[str] | Configuration,
    *,
    dry_run: bool = False,
    force: Iterable[str] = (),
    progress: bool = True,
    say: Callable[[str], None] | None = None,
) -> Run:
    """Run the stages of ``application.yaml`` whose inputs have changed since they last ran.

    What has run is remembered in the collection when it is done, so a run that was killed goes on where it stopped
    (the sync at the last batch). A collection is for one application at a time.

    Parameters
    ----------
    application : path or Configuration
    dry_run : bool
        Say what would run and why; change nothing, make no file.
    force : iterable of str
        Stages that run in any case: ``sync``, ``classifier``, ``train``, ``encode``, ``evaluate``, ``knn``,
        ``exports``, or ``all``.
    progress : bool
        Show bars.
    say : callable, optional
        Gets a line when a stage begins.

    Returns
    -------
    Run

    Raises
    ------
    ConfigurationError
        For mistakes in the file: all of them, with their lines.
    ValueError
        For an unknown stage in ``force``; if a stage cannot do its work.
    CollectionError
        If the collection is locked or the disk is full. Nothing that was done is lost.

    Examples
    --------
    >>> import simskip.pipeline
    >>> simskip.pipeline.run("application.yaml")  # doctest: +SKIP
    sync             ran      looks for changes in photos
    train            ran      there is no hasher yet
    """
    from .. import set_threads
    from ..collection import Collection

    forced = _forced(force)
    configuration = application if isinstance(application, Configuration) else read_configuration(application)
    if configuration.threads is not None:
        set_threads(configuration.threads)
    stages = [stage for stage in _PIPELINE if stage.wanted(configuration)]
    path = configuration.collection
    if dry_run and not path.exists():
        return Run(configuration, [Outcome(stage.name, "runs", "has not run yet") for stage in stages])
    if not dry_run:
        path.parent.mkdir(parents=True, exist_ok=True)
    with Collection.open(path, create=not dry_run, read_only=dry_run) as collection:
        context = Context(configuration, collection, progress)
        if dry_run:
            return Run(configuration, _planned(stages, context, forced))
        context.state.save_index(configuration.index.model_dump())
        return Run(configuration, [_done(stage, context, forced, say or (lambda line: None)) for stage in stages])


def _forced(force: Iterable[str]) -> set[str]:
    names = set()
    for name in [force] if isinstance(force, str) else force:
        choice(name, "force", (*stage_names(), ALL))
        names.add(name)
    return names


def _is_forced(stage: Stage, forced: Collection[str]) -> bool:
    return bool({ALL, stage.name, stage.name.partition(" ")[0] + "s"} & set(forced))


def _reason(stage: Stage, context: Context, forced: Collection[str]) -> str | None:
    """Why a stage runs; None if it need not."""
    if _is_forced(stage, forced):
        return "forced"
    facts = context.facts()
    done = context.state.done(stage.name)
    if done is None and stage.compares:
        return "has not run yet"
    changed = differences(done.inputs, stage.inputs(context, facts)) if done is not None and stage.compares else None
    if changed:
        return changed
    due = stage.due(context, facts)
    if due:
        return due
    missing = [path for path in stage.outputs(context.configuration) if not path.exists()]
    return f"{missing[0].name} is missing" if missing else None


def _done(stage: Stage, context: Context, forced: Collection[str], say: Callable[[str], None]) -> Outcome:
    reason = _reason(stage, context, forced)
    if reason is None:
        done = context.state.done(stage.name)
        idle = stage.idle(context)
        say(f"{stage.name}: {idle}")
        summary, details = (done.summary, done.details) if done else ("", {})  # of the last time
        return Outcome(stage.name, "skipped", idle, summary, details)
    say(f"{stage.name}: {reason}")
    started = time.monotonic()
    summary, details = stage.run(context)
    seconds = time.monotonic() - started
    # Of what is there now: the stage itself may have changed the collection.
    context.state.save(stage.name, stage.inputs(context, context.facts()), summary, details, seconds)
    return Outcome(stage.name, "ran", reason, summary, details, seconds)


def _planned(stages: Iterable[Stage], context: Context, forced: Collection[str]) -> list[Outcome]:
    """What would run. A sync that looks for changes may find none, and then nothing behind it is due."""
    plan: dict[str, Outcome] = {}
    for stage in stages:
        reason = _reason(stage, context, forced)
        before = [plan[name] for name in stage.after if name in plan]
        running = next((outcome.stage for outcome in before if outcome.status == "runs"), None)
        perhaps = next((outcome.stage for outcome in before if outcome.status == "may run"), None)
        if reason is not None and reason == stage.due(context, context.facts()) and stage.name == "sync":
            plan[stage.name] = Outcome(stage.name, "may run", reason)
        elif reason is not None:
            plan[stage.name] = Outcome(stage.name, "runs", reason)
        elif running is not None:
            plan[stage.name] = Outcome(stage.name, "runs", f"after {running}")
        elif perhaps is not None:
            what = "finds changes" if perhaps == "sync" else "runs"
            plan[stage.name] = Outcome(stage.name, "may run", f"if {perhaps} {what}")
        else:
            plan[stage.name] = Outcome(stage.name, "skipped", stage.idle(context))
    return list(plan.values())
