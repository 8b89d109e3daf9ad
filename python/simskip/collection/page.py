"""Hits of a search as one page: pictures and style inside, nothing outside, everything escaped."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from ..evaluation.pictures import data_uri

__all__ = ["hits_page"]


def hits_page(
    hits: Iterable[Any],
    *,
    query: str,
    setting: str = "",
    measure: str = "distance",
    query_picture: Any = None,
    picture_of: Callable[[Any], Any] | None = None,
) -> str:
    """A page that needs no other file and no network.

    Parameters
    ----------
    hits : iterable of hits
        Nearest first; see ``Hit``.
    query : str
        What was asked, as a heading.
    setting : str
        A sentence below it: where was searched, and how.
    measure : str
        What the hits' distance is, ``Hits.measure``.
    query_picture : path, image or array, optional
        See ``picture_of``.
    picture_of : callable, optional
        Gives a hit's picture (a path, a PIL image, or a uint8 array) or None. Default: its file. A picture that is gone
        or damaged is left out: the hit is shown all the same.

    Returns
    -------
    str
        HTML.

    Raises
    ------
    ImportError
        If there are pictures and Pillow is missing.

    Examples
    --------
    >>> from simskip.collection import Hit
    >>> hit = Hit("rome", "city", 0.25, 7, {})
    >>> "rome" in hits_page([hit], query="paris")
    True
    """
    found = list(hits)
    items = "\n".join(_hit(rank, hit, measure, picture_of) for rank, hit in enumerate(found, 1))
    css = [files("simskip.evaluation").joinpath("page.css"), files("simskip.collection").joinpath("page.css")]
    page = files("simskip.collection").joinpath("page.html").read_text(encoding="utf-8")
    return Template(page).substitute(
        title=escape(f"simskip: {query}"),
        css="\n".join(part.read_text(encoding="utf-8").rstrip() for part in css),
        query=escape(query),
        setting=escape(setting),
        query_picture=_image(query_picture, "the query"),
        hits=f'<ol class="found">\n{items}\n</ol>' if found else '<p class="none">Nothing was found.</p>',
        footer=escape(f"simskip {_version()}"),
    )


def _hit(rank: int, hit: Any, measure: str, picture_of: Callable[[Any], Any] | None) -> str:
    parts = [_image(picture_of(hit) if picture_of else hit.file, str(hit.key))]
    distance = f"{measure} {float(hit.distance):.4g}"
    parts.append(f'<span class="rank"><span>{rank}</span><span>{escape(distance)}</span></span>')
    parts.append(f'<span class="key">{escape(str(hit.key))}</span>')
    if hit.label is not None:
        parts.append(f'<span class="label">{escape(str(hit.label))}</span>')
    if hit.attributes:
        words = ", ".join(f"{name}: {value}" for name, value in hit.attributes.items())
        parts.append(f'<p class="attributes">{escape(words)}</p>')
    return f"<li>{''.join(parts)}</li>"


def _image(picture: Any, alternative: str) -> str:
    if picture is None:
        return ""
    try:
        uri = data_uri(picture, "picture")
    except ValueError:  # gone or damaged since it was embedded
        return ""
    return f'<img src="{uri}" alt="{escape(alternative)}">'


def _version() -> str:
    from .. import __version__

    return __version__
