"""``simskip search``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from .program import AsJson, Database, Quiet, app, out, say, table

__all__ = ["search"]


@app.command()
def search(
    database: Database,
    image: Annotated[Path | None, typer.Option("--image", help="What is like this image file?")] = None,
    text: Annotated[str | None, typer.Option("--text", help="What is like this text or word?")] = None,
    key: Annotated[str | None, typer.Option("--key", help="What is like this item?")] = None,
    vector: Annotated[Path | None, typer.Option("--vector", help="What is near this vector? .npy")] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="How many.")] = 10,
    where: Annotated[
        str | None, typer.Option("--where", help="SQL condition: \"label = 'mountain' AND year > 2001\".")
    ] = None,
    parameters: Annotated[
        list[str] | None, typer.Option("--param", help="Value for a ? in --where; repeatable, in order.")
    ] = None,
    label: Annotated[str | None, typer.Option("--label", help="Only items with this label.")] = None,
    exact: Annotated[bool, typer.Option("--exact", help="Compare all vectors.")] = False,
    rerank: Annotated[
        int | None,
        typer.Option("--rerank", min=0, help="Order so many times k codes by their vectors; 0: by codes alone."),
    ] = None,
    scoring: Annotated[str | None, typer.Option("--scoring", help="codes or asymmetric.")] = None,
    gate: Annotated[
        str | None, typer.Option("--gate", help="soft or hard: look into likely classes only (train --classifier).")
    ] = None,
    probability: Annotated[
        float | None, typer.Option("--probability", min=0, max=1, help="How much of it the soft gate covers.")
    ] = None,
    budget: Annotated[
        int | None, typer.Option("--budget", min=1, help="Vectors that a gated search reads at most.")
    ] = None,
    page: Annotated[Path | None, typer.Option("--html", help="Write a page with the pictures.")] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Find the items nearest to an image, a text, an item or a vector."""
    from ..collection import Collection

    question = _question(image=image, text=text, key=key, vector=vector)
    if page is not None and not page.absolute().parent.is_dir():
        raise FileNotFoundError(f"the folder {page.absolute().parent} does not exist")
    condition, values = _condition(where, parameters or [], label)
    with Collection.open(database, create=False, read_only=True) as collection:
        if gate is not None or probability is not None or budget is not None:
            if exact or rerank is not None or scoring is not None:
                raise ValueError("--gate compares vectors: it goes with none of --exact, --rerank, --scoring")
            options: dict[str, Any] = {"gate": gate, "probability": probability, "budget": budget}
        else:
            options = _options(collection, exact, rerank, scoring)
        hits = collection.search(**question, k=k, where=condition, parameters=values, **options)
        asked = str(text if text is not None else key if key is not None else image or vector)
        if page is not None:
            page.write_text(_page(collection, hits, question, asked, k, where, label, options), encoding="utf-8")
    if as_json:
        found = {"query": asked, "measure": hits.measure, "hits": hits.as_dicts()}
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
    elif len(hits):
        out.print(table(*hits.table(), left=2))
    else:
        out.print("nothing was found")
    tell = say(quiet)
    if page is not None and tell is not None:
        tell(str(page))


def _question(**given: Any) -> dict[str, Any]:
    """The one that was given, as ``Collection.search`` takes it."""
    asked = {name: value for name, value in given.items() if value is not None}
    if len(asked) != 1:
        names = ", ".join(f"--{name}" for name in given)
        got = " and ".join(f"--{name}" for name in asked) or "none"
        raise ValueError(f"give one of {names}, got {got}")
    if "image" in asked and not asked["image"].is_file():
        raise ValueError(f"--image: there is no file {str(asked['image'])!r}")
    if "vector" in asked:
        asked["vector"] = _vector(asked["vector"])
    return asked


def _vector(path: Path) -> Any:
    from ..tuning.command import read_npy

    array = read_npy(path)
    if array.ndim == 2 and len(array) == 1:
        array = array[0]
    if array.ndim != 1:
        raise ValueError(f"--vector must hold one vector, got shape {array.shape}")
    return array


def _condition(where: str | None, parameters: list[str], label: str | None) -> tuple[str | None, tuple[Any, ...]]:
    """The condition with the label's, and values for its question marks: numbers where they look like some."""
    if where is None and parameters:
        raise ValueError("--param needs --where")
    values: list[Any] = [_value(text) for text in parameters]
    if label is None:
        return where, tuple(values)
    return ("label = ?" if where is None else f"({where}) AND label = ?"), (*values, label)


def _value(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _options(collection: Any, exact: bool, rerank: int | None, scoring: str | None) -> dict[str, Any]:
    """How to search: as asked for, else as the application that filled the collection says."""
    from ..pipeline.state import State

    if exact:
        if rerank is not None or scoring is not None:
            raise ValueError("--exact compares all vectors: it goes with neither --rerank nor --scoring")
        return {"exact": True}
    options = State(collection).index()
    if rerank is not None:
        options["rerank"] = rerank or None
    if scoring is not None:
        options["scoring"] = scoring
    return options


def _page(
    collection: Any,
    hits: Any,
    question: dict[str, Any],
    asked: str,
    k: int,
    where: str | None,
    label: str | None,
    options: dict[str, Any],
) -> str:
    from ..collection.page import hits_page

    own = question.get("image")
    if "key" in question:
        own = collection.files_of(collection.ids_of([asked]))[0]
    conditions = [*([where] if where else []), *([f"label {label}"] if label else [])]
    restricted = f" among those with {' and '.join(conditions)}" if conditions else ""
    by_codes = collection.hasher is not None and not options.get("exact")
    how = f"by codes of {collection.hasher.n_bits} bits" if by_codes else "by comparing all vectors"
    if options.get("gate"):
        how = f"in likely classes ({options['gate']} gate)"
    return hits_page(
        hits,
        query=asked,
        setting=f"The {k} nearest of {len(collection):,} items in {collection.path.name}{restricted}, found {how}.",
        measure=hits.measure,
        query_picture=own,
    )
