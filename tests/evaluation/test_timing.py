import numpy as np
import pytest

from simskip.evaluation.timing import measure


class Machine:
    """A clock that searches move: nothing here depends on the real time."""

    def __init__(self):
        self.now, self.calls = 0.0, []

    def clock(self):
        return self.now

    def search(self, name, seconds):
        def run(queries):
            self.calls.append((name, len(queries)))
            step = seconds(len(queries)) if callable(seconds) else seconds
            self.now += step

        return run


def test_every_query_has_its_fastest_repetition():
    machine = Machine()
    durations = iter([9, 1.0, 0.003, 0.001, 9, 2.0, 0.002, 0.004])  # warm-up, batch, two singles; twice
    timing = measure(
        {"a": machine.search("a", lambda n: next(durations))},
        np.zeros((10, 2), np.float32),
        single_queries=2,
        repetitions=2,
        clock=machine.clock,
    )["a"]
    assert timing.latencies_ms == pytest.approx([2.0, 1.0])
    assert timing.batch_seconds == pytest.approx([1.0, 2.0])
    assert timing.queries_per_second == pytest.approx(10.0)
    assert timing.queries_per_second_median == pytest.approx(10 / 1.5)
    assert timing.percentile(50) == pytest.approx(1.5)


def test_searchers_take_turns_and_the_budget_ends_the_slow_one():
    machine = Machine()
    searches = {"slow": machine.search("slow", 3.0), "quick": machine.search("quick", 0.001)}
    timings = measure(
        searches,
        np.zeros((4, 2), np.float32),
        single_queries=1,
        repetitions=3,
        budget=5.0,
        clock=machine.clock,
    )
    assert len(timings["slow"].batch_seconds) == 1
    assert len(timings["quick"].batch_seconds) == 3
    assert [name for name, n in machine.calls if n == 4] == ["slow", "quick", "quick", "quick"]


def test_single_queries_are_spread_and_never_more_than_there_are():
    seen = []
    queries = np.arange(20, dtype=np.float32).reshape(10, 2)
    ticks = iter(range(1000))
    timing = measure(
        {"a": lambda q: seen.append(q[:, 0].tolist())},
        queries,
        single_queries=3,
        repetitions=1,
        clock=lambda: next(ticks),
    )["a"]
    assert seen == [[0.0], queries[:, 0].tolist(), [0.0], [8.0], [18.0]]
    assert len(timing.latencies_ms) == 3
    few = measure({"a": lambda q: None}, queries[:2], repetitions=1, clock=lambda: next(ticks))["a"]
    assert len(few.latencies_ms) == 2
