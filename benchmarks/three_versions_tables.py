"""The three ways to answer as Markdown, and the sentence that says where the precomputed table stops paying."""

from __future__ import annotations

from typing import Any

from .objective_tables import replaced

__all__ = ["BEGIN", "END", "document", "paid_after", "verdict", "written"]

Row = dict[str, Any]

BEGIN = "<!-- three versions: written by python -m benchmarks.three_versions --write-readme -->"
END = "<!-- three versions: end -->"

EXACT, CODES, TABLE = "Collection, exact", "codes + rerank x10", "table in SQLite"
IN_MEMORY = "table in memory"
BATCHES = (f"{CODES}, in a batch", "codes + rerank, recall=0.95, in a batch", f"{EXACT}, in a batch")


def document(result: Row) -> str:
    """All tables and sentences."""
    shown = [size for size in result["sizes"] if size["n"] in result["shown"]]
    return "\n\n".join([_answers(result, shown), _tables(result), verdict(result), _explained(result)])


def written(text: str, result: Row) -> str:
    """A README with the tables between its marks."""
    return replaced(text, document(result), BEGIN, END)


def answer(size: Row, name: str) -> Row:
    """One way's row."""
    return next(row for row in size["answers"] if row["name"] == name)


def first_versions(result: Row, size: Row) -> list[Row]:
    """V1, from what embedding costs."""
    one, usual, exact = result["embedding"]["one_by_one_s"] * 1e6, size["answers"][0], answer(size, EXACT)
    return [
        {
            "version": "V1",
            "name": "features of all photographs for each query",
            "cpu_us": one * size["n"] + usual["cpu_us"],
            "recall": 1.0,
        },
        {"version": "V1", "name": "features of the query alone", "cpu_us": one + exact["cpu_us"], "recall": 1.0},
    ]


def paid_after(size: Row) -> Row:
    """Queries after which a table has paid for its making, against the same answers searched for one at a time.

    Infinite if looking up is no cheaper than searching.
    """
    looked_up = answer(size, TABLE)["cpu_us"]
    found = {}
    for name, built, other in (("exact", "exact_cpu_s", EXACT), ("codes", "codes_cpu_s", CODES)):
        saved = answer(size, other)["cpu_us"] - looked_up
        found[name] = size["table"][built] * 1e6 / saved if saved > 0 else float("inf")
    return found


def verdict(result: Row) -> str:
    """Where the table stops paying, and whether the goals were reached."""
    size = result["sizes"][-1]
    n, table, paid = size["n"], size["table"], paid_after(size)
    per_item = [paid_after(each)["codes"] / each["n"] for each in result["sizes"]]
    memory, codes = answer(size, IN_MEMORY), answer(size, CODES)
    batches = [
        f"{_time(row['cpu_us'])} by {name.removesuffix(', in a batch')} at recall {row['recall']:.2f}"
        f" ({_met(row['cpu_us'] < 200)})"
        for name, row in ((name, answer(size, name)) for name in BATCHES)
    ]
    return (
        f"Where V3 stops paying: with {n:,} photographs its table takes {table['exact_cpu_s']:,.1f} s of a core to make"
        f" by exact search ({table['codes_cpu_s']:,.1f} s by codes) and {table['file_bytes'] / 1e6:,.0f} MB, has paid"
        f" for itself after {paid['exact']:,.0f} queries against exact search and {paid['codes']:,.0f} against codes +"
        f" rerank, and 1 % new photographs make {table['stale_share']:.0%} of its lists wrong. At the sizes measured it"
        f" takes {min(per_item):.1f} to {max(per_item):.1f} queries per photograph between two changes until it beats"
        f" codes + rerank, which answer in {_time(codes['cpu_us'])} (recall {codes['recall']:.2f}): it is for"
        " collections that are asked often and change seldom, and for a new photograph it has no answer. Goals at"
        f" {n:,}, one thread: a query against stored features in a batch under 0.2 ms: {', '.join(batches)}; a lookup"
        f" under 0.01 ms: {_time(memory['cpu_us'])} ({_met(memory['cpu_us'] < 10)})."
    )


def _answers(result: Row, shown: list[Row]) -> str:
    heads = ["", "way"]
    for size in shown:
        heads += [f"{size['n']:,} photographs", f"Recall@{25}"]
    columns = [[*first_versions(result, size), *size["answers"]] for size in shown]
    lines = []
    for rows in zip(*columns, strict=True):
        cells = [rows[0]["version"], rows[0]["name"]]
        for row in rows:
            cells += [_time(row["cpu_us"]), f"{row['recall']:.3f}"]
        lines.append(cells)
    order = {"V1": 0, "V2": 1, "V3": 2, "ours": 3}
    return _table(heads, sorted(lines, key=lambda cells: order[cells[0]]), left=2)


def _tables(result: Row) -> str:
    heads = ["photographs", "table, exact", "table by codes", "its recall", "in the file", "in memory"]
    heads += ["paid after, against exact", "against codes + rerank", "lists wrong after 1 % new"]
    lines = []
    for size in result["sizes"]:
        table, paid = size["table"], paid_after(size)
        lines.append(
            [
                f"{size['n']:,}",
                f"{table['exact_cpu_s']:.1f} s",
                f"{table['codes_cpu_s']:.1f} s",
                f"{table['codes_recall']:.3f}",
                f"{table['file_bytes'] / 1e6:.1f} MB",
                f"{table['memory_bytes'] / 1e6:.1f} MB",
                f"{paid['exact']:,.0f} queries",
                f"{paid['codes']:,.0f} queries",
                f"{table['stale_share']:.0%}",
            ]
        )
    return _table(heads, lines)


def _explained(result: Row) -> str:
    embedding, environment = result["embedding"], result["environment"]
    return (
        "Processor time of one question, one thread"
        f" ({environment['processor']}); the 25 nearest of photographs in the collection (CIFAR-10 through"
        f" EfficientNet-Lite0, {result['sizes'][0]['dim']:,} numbers), themselves left out; {result['hasher']}, trained"
        f" on others. Embedding one photograph takes {_time(embedding['one_by_one_s'] * 1e6)}; V1's first row is that"
        " times their number."
    )


def _table(heads: list[str], lines: list[list[str]], left: int = 0) -> str:
    rule = ["---" if i < left else "---:" for i in range(len(heads))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (heads, rule, *lines))


def _time(microseconds: float) -> str:
    if microseconds >= 1e6:
        return f"{microseconds / 1e6:,.1f} s"
    if microseconds >= 1000:
        return f"{microseconds / 1000:.2g} ms" if microseconds < 10_000 else f"{microseconds / 1000:,.0f} ms"
    return f"{microseconds:.0f} µs" if microseconds >= 10 else f"{microseconds:.1f} µs"


def _met(reached: bool) -> str:
    return "reached" if reached else "missed"
