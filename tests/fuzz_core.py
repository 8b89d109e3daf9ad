"""Calls everything in simskip._core with random arguments of wrong and right types and shapes.

Run by test_contract.py in a process of its own, because what it looks for is a crash.
"""

import inspect
import os
import random
import sys
import tempfile

import numpy as np

from simskip import _core


def number(rng: random.Random):
    small = [0, 1, 2, 3, 8, 9, 64, 4096, 4097, -1, -5]
    return rng.choice([*small, 2**31, 2**40, 2**62, 2**63 - 1, -(2**63), 2**64, 2**70])


def array(rng: random.Random):
    dtype = rng.choice([np.uint8, np.int8, np.float32, np.float64, np.int64, np.int32, bool, object])
    shape = tuple(rng.choice([0, 1, 2, 3, 8, 9]) for _ in range(rng.choice([0, 1, 2, 2, 2, 3])))
    values = np.random.default_rng(rng.randrange(2**32)).integers(-3, 20, shape)
    if dtype in (np.float32, np.float64) and rng.random() < 0.2:
        values = values * np.nan
    with np.errstate(all="ignore"):
        result = values.astype(dtype)
    return rng.choice([result, result, result, np.asfortranarray(result), result[::-1] if result.ndim else result])


def argument(rng: random.Random):
    return rng.choice(
        [
            lambda: array(rng),
            lambda: array(rng),
            lambda: array(rng),
            lambda: number(rng),
            lambda: number(rng),
            lambda: None,
            lambda: rng.choice([0.5, np.nan, np.inf, True, "cosine", "l2", "", "a\0b", b"x", [], (), {}, object()]),
            lambda: [("name", array(rng))],
        ]
    )()


# Numbers that ask for memory stay small enough to be had or large enough to be refused.
SMALL = {"rows": 50, "columns": 50, "k": 1000}


def fitting(rng: random.Random, name: str, n: int, width: int, folder: str):
    """What the argument of that name should be."""
    ids = np.array(rng.sample(range(60), n), np.int64)
    floats = np.random.default_rng(n).normal(size=(n, width))
    known = {
        "codes": np.full((n, (width + 7) // 8), rng.randrange(256), np.uint8),
        "queries": np.full((n, (width + 7) // 8), 1, np.uint8),
        "ids": rng.choice([None, ids]),
        "where": rng.choice([None, np.sort(ids)]),
        "candidates": np.array([rng.sample(range(-2, 12), 3) for _ in range(n)], np.int64).reshape(n, 3),
        "norms": np.ones(n),
        "values": rng.choice([floats.astype(np.float32), floats.astype(np.int8)]),
        "outputs": floats.astype(np.float32),
        "products": floats.astype(np.float32),
        "covariance": np.eye(n + 1),
        "matrix": floats,
        "metric": rng.choice(["cosine", "l2", "dot"]),
        "name": rng.choice(_core.available_isas()),
        "path": f"{folder}/{rng.randrange(5)}",
        "kind": rng.choice(["hamming", "x"]),
        "sections": [("a", np.zeros(n, np.uint8))],
        "trusted": ["a"],
        "map": rng.choice([True, False]),
        "longest_row": 2.0,
        "first_row": rng.randrange(20),
        "n_bits": width,
        "n_axes": 1,
    }
    return known.get(name, rng.randrange(1, 6))


def parameters(function) -> list[str]:
    text = function.__doc__.split("\n")[0]
    names = inspect.signature(eval(f"lambda {_names_only(text)}: None")).parameters
    return [name for name in names if name != "self"]


def _names_only(text: str) -> str:
    inside, depth, parts = text[text.index("(") + 1 : text.rindex(") ->")], 0, [""]
    for c in inside:
        depth += (c in "([") - (c in ")]")
        if c == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += c
    return ", ".join(p.split(":")[0].strip() for p in parts if p.strip())


def arguments(rng: random.Random, function, folder: str):
    n, width = rng.choice([0, 1, 3, 8]), rng.choice([1, 8, 9, 64])
    share = rng.choice([0.0, 0.1, 0.3, 1.0])
    chosen = []
    for name in parameters(function):
        value = argument(rng) if rng.random() < share else fitting(rng, name, n, width, folder)
        if name in SMALL and isinstance(value, int) and SMALL[name] < value < 2**62:
            value %= SMALL[name]
        chosen.append(value)
    return chosen


def main(seed: int, calls: int) -> None:
    rng = random.Random(seed)
    folder = tempfile.mkdtemp()
    os.chdir(folder)  # some of the arguments are taken for paths, and written to
    objects = [_core.HammingIndex(9), _core.HammingIndex(64)]
    functions = [f for name, f in vars(_core).items() if callable(f) and not isinstance(f, type)]
    methods = {
        cls: [m for name, m in vars(cls).items() if callable(m) and not name.startswith("_")]
        for cls in (_core.HammingIndex, _core.FloatTopK)
    }
    outcomes: dict[str, int] = {}
    for _ in range(calls):
        try:
            if rng.random() < 0.5:
                target = rng.choice(objects)
                method = rng.choice(methods[type(target)])
                method(target, *arguments(rng, method, folder))
            elif rng.random() < 0.2:
                cls = rng.choice(list(methods))
                made = cls(*arguments(rng, cls.__init__, folder))
                objects = [*objects[-20:], made]
            else:
                function = rng.choice(functions)
                function(*arguments(rng, function, folder))
            outcome = "fine"
        except (TypeError, ValueError) as error:
            outcome = type(error).__name__
        except OSError as error:
            outcome = type(error).__name__
            if not error.errno:
                raise
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    print(outcomes)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
