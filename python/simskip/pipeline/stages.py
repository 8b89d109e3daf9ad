"""The stages of an application: what each depends on, what it does, and where its results lie."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from ..hashing.recipes import learns_from_labels
from .configuration import Configuration
from .retraining import Retraining
from .state import Facts, State, label_marks

__all__ = ["STAGES", "Context", "Result", "Stage", "relative_path"]

Result = tuple[str, dict[str, Any]]  # a few words, and figures for JSON


@dataclass
class Context:
    """What stages work with."""

    configuration: Configuration
    collection: Any
    progress: bool = False
    state: State = field(init=False)

    def __post_init__(self) -> None:
        self.state = State(self.collection)

    @cached_property
    def embedder(self) -> Any:
        """Loaded when first asked for."""
        from ..embedding import load

        section = self.configuration.embedder
        try:
            return load(section.name, **section.options)
        except TypeError as error:  # a function's words about its arguments
            raise ValueError(f"embedder.options do not fit {section.name}: {error}") from error

    def facts(self) -> Facts:
        """What the collection holds now."""
        return Facts(self.collection)


@dataclass(frozen=True)
class Stage:
    """One step.

    Attributes
    ----------
    name : str
    wanted : callable
        Configuration -> whether the file asks for it.
    inputs : callable
        (context, facts) -> what it depends on, JSON-ready.
    run : callable
        Context -> (summary, details).
    after : tuple of str
        Stages whose running changes its inputs.
    outputs : callable
        Configuration -> files that must be there.
    due : callable, optional
        (context, facts) -> why it must run although its inputs are what they were, or None.
    compares : bool
        Whether changed inputs make it run; else ``due`` alone decides.
    idle : callable
        Context -> what is said if it need not run.
    """

    name: str
    wanted: Callable[[Configuration], bool]
    inputs: Callable[[Context, Facts], dict[str, Any]]
    run: Callable[[Context], Result]
    after: tuple[str, ...] = ()
    outputs: Callable[[Configuration], list[Path]] = lambda configuration: []
    due: Callable[[Context, Facts], str | None] = lambda context, facts: None
    compares: bool = True
    idle: Callable[[Context], str] = lambda context: "nothing has changed"


# sync


def _source(context: Context) -> Any:
    data = context.configuration.data
    if data.images is not None:
        return data.images
    if data.texts is not None and data.texts.is_dir():
        return data.texts
    from ..collection.sources import lines_of

    # Always as a list, so that another limit or another file takes the place of what was there.
    if data.words == "vocabulary":
        vocabulary = getattr(context.embedder, "vocabulary", None)
        if vocabulary is None:
            raise ValueError(f"words: vocabulary needs an embedder of words, {context.embedder.name} has none")
        return list(vocabulary[: data.limit])
    path = data.texts or Path(str(data.words))
    return list(islice(lines_of(path), data.limit))


def _sync(context: Context) -> Result:
    data = context.configuration.data
    source = _source(context)
    report = context.collection.sync(source, context.embedder, label_from=data.label_from, progress=context.progress)
    unreadable = list(report.unreadable)
    if unreadable and not len(context.collection):
        reasons = "; ".join(f"{key}: {reason}" for key, reason in unreadable[:3])
        raise ValueError(f"nothing in {data.images or data.texts} could be read: {reasons}")
    counts = {name: getattr(report, name) for name in ("added", "updated", "moved", "removed", "unchanged")}
    details = {**counts, "unreadable": [{"key": key, "reason": reason} for key, reason in unreadable]}
    changed = [f"{count:,} {name}" for name, count in counts.items() if count]
    if unreadable:
        changed.append(f"{len(unreadable):,} unreadable")
    return ", ".join(changed), details


def _sync_due(context: Context, facts: Facts) -> str | None:
    data = context.configuration.data
    where = data.images or data.texts or ("the embedder's vocabulary" if data.words == "vocabulary" else data.words)
    return f"looks for changes in {relative_path(where, context.configuration)}" if data.source_is_folder else None


def relative_path(path: Any, configuration: Configuration) -> str | None:
    """A path as seen from the file; anything else as it is."""
    if path is None or not os.path.isabs(path):
        return None if path is None else str(path)
    return os.path.relpath(path, configuration.folder)


def _sync_inputs(context: Context, facts: Facts) -> dict[str, Any]:
    configuration = context.configuration
    data, embedder = configuration.data, configuration.embedder
    inputs: dict[str, Any] = {
        data.kind: str(data.images or data.texts or data.words),
        "labels": data.label_from,
        "limit": data.limit,
        "embedder": embedder.name,
        "embedder options": dict(embedder.options),
    }
    for name in (data.kind, "labels"):  # relative: the folder may be moved
        inputs[name] = relative_path(inputs[name], configuration)
    model = embedder.name.partition(":")[2] or embedder.name
    inputs["embedder"] = embedder.name.replace(model, str(relative_path(model, configuration)))
    for name, value in ((data.kind, data.texts or data.words), ("labels", data.label_from), ("embedder", model)):
        if value is not None and Path(value).is_file():
            status = Path(value).stat()
            inputs[f"{name} file"] = [status.st_size, status.st_mtime_ns]
    inputs["collection"] = facts.revision
    return inputs


# classifier


def _train_classifier(context: Context) -> Result:
    configuration = context.configuration
    section, hasher = configuration.classifier, configuration.hasher
    assert section is not None
    parameters = section.model_dump(exclude={"retrain"}, exclude_none=True)
    # The same items as the hasher's, which must not become others: it has seen those.
    if context.collection.hasher is not None:
        parameters["hold_out"] = len(context.collection.held_out)
    elif hasher is not None:
        parameters["hold_out"] = hasher.hold_out
    classifier = context.collection.train_classifier(progress=context.progress, **parameters)
    context.state.save_labels("classifier", *label_marks(context.collection))
    details = {"fingerprint": classifier.fingerprint}
    classes = f"{len(classifier.classes_):,} classes"
    if classifier.calibration_ is None:  # nothing was held out to judge it
        return classes, details
    figures = asdict(classifier.calibration_)
    return f"{classes}, {figures['accuracy']:.0%} right on rows held out", {**details, **figures}


# train, encode


def _train(context: Context) -> Result:
    section = context.configuration.hasher
    assert section is not None
    collection = context.collection
    if len(collection) < 2:
        raise ValueError(f"{collection.path} has {len(collection)} items: a hasher is trained on two or more")
    hasher = collection.train(
        section.name,
        n_bits=section.bits,
        hold_out=section.hold_out,
        progress=context.progress,
        **section.parameters,
    )
    context.state.save_labels("train", *label_marks(collection))
    health = hasher.health_
    details = {
        "hasher": repr(hasher),
        "fingerprint": hasher.fingerprint,
        "held_out": len(collection.held_out),
        "collapsed": bool(health.collapsed),
    }
    return f"{section.name}, {section.bits} bits, {details['held_out']:,} items held out", details


def _encode_inputs(context: Context, facts: Facts) -> dict[str, Any]:
    return {"hasher": facts.hasher}


def _encode_due(context: Context, facts: Facts) -> str | None:
    return f"{facts.without_code:,} items have no code" if facts.without_code else None


def _encode(context: Context) -> Result:
    count = context.collection.encode()
    return f"{count:,} items encoded" if count else "every item has its code", {"encoded": count}


# evaluate


def _evaluation_inputs(context: Context, facts: Facts) -> dict[str, Any]:
    configuration = context.configuration
    section = configuration.evaluation
    return {
        "evaluation": section.model_dump(exclude={"metrics"}) if section else None,
        "index": configuration.index.model_dump(),
        "report": [relative_path(path, configuration) for path in configuration.exports.report],
        "items": facts.revision,
        "labels": facts.labels,
        "hasher": facts.hasher,
    }


def _evaluate(context: Context) -> Result:
    from ..collection.evaluation import evaluate_collection

    configuration = context.configuration
    section, index = configuration.evaluation, configuration.index
    assert section is not None
    report = evaluate_collection(
        context.collection,
        section.k,
        queries=section.queries,
        rerank=index.rerank,
        scoring=index.scoring,
        baselines=section.baselines,
        min_recall=section.min_recall,
        threads=configuration.threads,
    )
    for path in configuration.exports.report:
        path.parent.mkdir(parents=True, exist_ok=True)
        report.save(path)
    details = {
        "verdict": report.verdict,
        "warnings": list(report.warnings),
        "rows": [row.as_dict()["values"] | {"name": row.name} for row in report.rows],
    }
    return f"{report.provenance['queries']['rows']:,} queries, K = {section.k}", details


# knn


def _knn(context: Context) -> Result:
    section = context.configuration.exports.knn
    assert section is not None
    table = context.collection.knn_table(section.k, progress=context.progress)
    return f"the {table.k} nearest of {len(table):,} items", {"k": table.k, "method": table.method}


def _knn_inputs(context: Context, facts: Facts) -> dict[str, Any]:
    section = context.configuration.exports.knn
    return {"k": section.k if section else None, "items": facts.revision, "hasher": facts.hasher}


_CLASSIFIER = Retraining("classifier", "classifier", lambda section: True)
_HASHER = Retraining("train", "hasher", lambda section: learns_from_labels(section.name))

STAGES: list[Stage] = [
    Stage("sync", lambda c: True, _sync_inputs, _sync, due=_sync_due),
    Stage(
        "classifier",
        lambda c: c.classifier is not None,
        _CLASSIFIER.inputs,
        _train_classifier,
        ("sync",),
        due=_CLASSIFIER.due,
        compares=False,
        idle=_CLASSIFIER.idle,
    ),
    Stage(
        "train",
        lambda c: c.hasher is not None,
        _HASHER.inputs,
        _train,
        ("sync",),
        due=_HASHER.due,
        compares=False,
        idle=_HASHER.idle,
    ),
    Stage(
        "encode",
        lambda c: c.hasher is not None,
        _encode_inputs,
        _encode,
        ("sync", "train"),
        due=_encode_due,
        compares=False,
        idle=lambda context: "every item has a code",
    ),
    Stage(
        "evaluate",
        lambda c: c.evaluation is not None,
        _evaluation_inputs,
        _evaluate,
        ("sync", "train", "encode"),
        lambda c: list(c.exports.report),
    ),
    Stage("knn", lambda c: c.exports.knn is not None, _knn_inputs, _knn, ("sync", "train")),
]
