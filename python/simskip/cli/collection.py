"""``simskip embed``, ``train``, ``encode``, ``evaluate`` and ``export``: what changes or judges a collection."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from .program import AsJson, Database, Quiet, app, err, out, report_table, say, show_unreadable

__all__ = ["embed", "encode", "evaluate", "export", "train"]

Threads = Annotated[int | None, typer.Option("--threads", min=1, max=1024, help="Threads (default: all processors).")]


def _use(threads: int | None) -> None:
    if threads is not None:
        from .. import set_threads

        set_threads(threads)


@app.command()
def embed(
    database: Database,
    source: Annotated[
        str | None,
        typer.Option("--input", "-i", help="Folder of images or texts, or a text file with an item per line."),
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Embedder (default: the one that made the vectors so far).")
    ] = None,
    labels: Annotated[
        str, typer.Option("--labels", help="folder (names of sub-folders), none, or a .csv file with key and label.")
    ] = "folder",
    prefix: Annotated[str, typer.Option("--prefix", help="In front of every key: keeps two folders apart.")] = "",
    threads: Threads = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Bring a collection up to a folder: embed what is new or changed, remove what is gone. Again does no harm.

    Without --input: all words of an embedder of words.
    """
    from ..collection import Collection
    from ..embedding import load

    _use(threads)
    folder = None if source is None else Path(source)
    if folder is not None and not folder.exists():  # before a collection is begun for it
        raise ValueError(f"--input: there is nothing at {source!r}")
    if model is None and not database.exists():
        raise ValueError(f"--model must be given to begin the collection {database}, for example -m efficientnet-lite0")
    embedder, begun = None if model is None else load(model), not database.exists()
    label_from = None if labels == "none" else labels
    try:
        with Collection.open(database) as collection:
            report = collection.sync(folder, embedder, label_from=label_from, prefix=prefix, progress=not quiet)
            count = len(collection)
    except ValueError:
        if begun:
            _remove_empty(database)
        raise
    counts = {name: getattr(report, name) for name in ("added", "updated", "moved", "removed", "unchanged")}
    unreadable = [{"key": key, "reason": reason} for key, reason in report.unreadable]
    if as_json:
        figures = {**counts, "embedded": report.embedded, "unreadable": unreadable, "items": count}
        typer.echo(json.dumps({**figures, "seconds": round(report.seconds, 3)}, indent=2))
    else:
        told = ", ".join(f"{number:,} {name}" for name, number in counts.items())
        out.print(escape(f"{database}: {told}, {len(unreadable):,} unreadable"), soft_wrap=True)
    show_unreadable(report.unreadable)
    if unreadable and not count:
        raise ValueError(f"nothing in {source} could be read")


def _remove_empty(database: Path) -> None:
    """Take away a collection that was begun in vain."""
    from ..collection import Collection

    if not database.is_file():
        return
    with Collection.open(database, create=False) as collection:
        empty = len(collection) == 0 and not collection.unreadable()
    if empty:
        for name in (database, database.with_name(f"{database.name}-wal"), database.with_name(f"{database.name}-shm")):
            name.unlink(missing_ok=True)


@app.command()
def train(
    database: Database,
    hasher: Annotated[
        str, typer.Option("--hasher", help="An objective of DeepHash (neighbors, csq, ...), pca, itq or random.")
    ] = "neighbors",
    bits: Annotated[int, typer.Option("--bits", min=1, max=4096, help="Bits of a code.")] = 64,
    hold_out: Annotated[
        int, typer.Option("--hold-out", min=0, help="Items kept for evaluation (at most a tenth of all).")
    ] = 1000,
    parameters: Annotated[
        list[str] | None, typer.Option("--set", help="A parameter of the model: epochs=5; repeatable.")
    ] = None,
    classifier: Annotated[
        bool, typer.Option("--classifier", help="Train a classifier of the labels instead, for search --gate.")
    ] = False,
    threads: Threads = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Learn codes from a collection's vectors, keep the hasher in it, and encode every item; or learn its classes."""
    from ..collection import Collection
    from ..pipeline.hashers import checked_classifier, checked_hasher

    _use(threads)
    pairs = [_parameter(text) for text in parameters or []]
    if classifier:
        _train_classifier(database, checked_classifier(pairs), hold_out, as_json, quiet)
        return
    given = checked_hasher(hasher, bits, pairs)
    with Collection.open(database, create=False) as collection:
        trained = collection.train(hasher, n_bits=bits, hold_out=hold_out, progress=not quiet, **given)
        held_out, count = len(collection.held_out), len(collection)
    health = trained.health_
    if as_json:
        figures = {"hasher": repr(trained), "fingerprint": trained.fingerprint, "items": count, "held_out": held_out}
        typer.echo(json.dumps({**figures, "health": health.as_dict()}, indent=2))
        return
    told = f"{database}: {count:,} items have codes of {bits} bits ({hasher}); {held_out:,} held out"
    out.print(escape(told), soft_wrap=True)
    if health.collapsed:
        err.print(f"[yellow]warning:[/] {escape(health.diagnosis)}", soft_wrap=True)


def _train_classifier(database: Path, given: dict[str, Any], hold_out: int, as_json: bool, quiet: bool) -> None:
    from ..collection import Collection

    with Collection.open(database, create=False) as collection:
        if collection.hasher is not None:  # the items that it has not seen must not become others
            hold_out = len(collection.held_out)
        trained = collection.train_classifier(hold_out=hold_out, progress=not quiet, **given)
    figures = None if trained.calibration_ is None else asdict(trained.calibration_)
    if as_json:
        classes = [str(name) for name in trained.classes_]
        typer.echo(json.dumps({"classes": classes, "fingerprint": trained.fingerprint, "judged": figures}, indent=2))
        return
    right = "" if figures is None else f", {figures['accuracy']:.0%} right on {figures['rows']:,} rows held out"
    out.print(escape(f"{database}: a classifier of {len(trained.classes_):,} classes{right}"), soft_wrap=True)


def _parameter(text: str) -> tuple[str, Any]:
    """``"epochs=5"`` as a name and a value: JSON if it is some, else text."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ValueError(f"--set must be name=value, for example epochs=5, got {text!r}")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


@app.command()
def encode(database: Database, as_json: AsJson = False, quiet: Quiet = False) -> None:
    """Give codes to the items that have none (train and embed do it themselves)."""
    from ..collection import Collection

    with Collection.open(database, create=False) as collection:
        count = collection.encode()
    if as_json:
        typer.echo(json.dumps({"encoded": count}))
    else:
        told = f"{count:,} items encoded" if count else "every item has its code"
        out.print(escape(f"{database}: {told}"), soft_wrap=True)


@app.command()
def evaluate(
    database: Database,
    k: Annotated[int, typer.Option("-k", min=1, help="Neighbours per query.")] = 25,
    queries: Annotated[int, typer.Option("--queries", min=1, help="At most so many of the held-out items.")] = 1000,
    rerank: Annotated[
        int, typer.Option("--rerank", min=0, help="Depth of the exact second stage, in k; 0: codes alone.")
    ] = 10,
    scoring: Annotated[str, typer.Option("--scoring", help="codes or asymmetric.")] = "codes",
    min_recall: Annotated[float, typer.Option("--min-recall", min=0, max=1, help="What the verdict asks for.")] = 0.95,
    page: Annotated[Path | None, typer.Option("--html", help="Write the report with figures and pictures.")] = None,
    threads: Threads = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Say what the codes cost in recall and bring in time, asked by items that the hasher has never seen."""
    from ..collection import Collection
    from ..collection.evaluation import evaluate_collection

    if page is not None and page.suffix.lower() != ".html":
        raise ValueError(f"--html must end in .html, got {str(page)!r}")
    if page is not None and not page.absolute().parent.is_dir():
        raise FileNotFoundError(f"the folder {page.absolute().parent} does not exist")
    _use(threads)
    tell = say(quiet)
    if tell is not None:
        tell(f"comparing with exact search, K = {k}")
    with Collection.open(database, create=False, read_only=True) as collection:
        report = evaluate_collection(
            collection,
            k,
            queries=queries,
            rerank=rerank or None,
            scoring=scoring,
            min_recall=min_recall,
            pictures=page is not None,
            threads=threads,
        )
    if page is not None:
        report.save(page)
    if as_json:
        typer.echo(report.to_json())
    else:
        out.print(report_table(report))
        for warning in report.warnings:
            out.print(f"[yellow]warning:[/] {escape(warning)}")
        out.print(f"\n[bold]{escape(report.verdict)}[/]")
    if page is not None and tell is not None:
        tell(str(page))


@app.command()
def export(
    database: Database,
    parquet: Annotated[Path | None, typer.Option("--parquet", help="Everything, as Parquet.")] = None,
    hasher: Annotated[Path | None, typer.Option("--hasher", help="The trained hasher: .safetensors.")] = None,
    codes: Annotated[Path | None, typer.Option("--codes", help="The codes, a row per item by id: .npy.")] = None,
    knn: Annotated[Path | None, typer.Option("--knn", help="Every item's nearest items: .npz.")] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="Neighbours per item, for --knn.")] = 25,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Write parts of a collection to files for other programs."""
    from ..collection import Collection
    from ..pipeline import files

    wanted = {"--parquet": parquet, "--hasher": hasher, "--codes": codes, "--knn": knn}
    given = {name: path for name, path in wanted.items() if path is not None}
    if not given:
        raise ValueError(f"say what to export: {', '.join(wanted)}")
    for path in given.values():
        if not path.absolute().parent.is_dir():
            raise FileNotFoundError(f"the folder {path.absolute().parent} does not exist")
    writers: dict[str, Any] = {
        "--parquet": files.write_parquet,
        "--hasher": files.write_hasher,
        "--codes": files.write_codes,
        "--knn": lambda collection, path: files.write_neighbors(collection, path, k, not quiet),
    }
    with Collection.open(database, create=False) as collection:
        told = {name: writers[name](collection, path) for name, path in given.items()}
    if as_json:
        typer.echo(json.dumps({name.lstrip("-"): str(path) for name, path in given.items()}, indent=2))
    else:
        for line in told.values():
            out.print(escape(line), soft_wrap=True)
