"""Work over threads: order, lead, errors, calling off."""

import threading

import pytest

from simskip.embedding.ordered_work import Cancellation, CancelledError, in_order


@pytest.mark.parametrize("threads", [1, 3])
def test_results_keep_their_order(threads):
    assert list(in_order(lambda i: i * i, range(50), threads, Cancellation())) == [i * i for i in range(50)]
    assert list(in_order(str, [], threads, Cancellation())) == []


def test_the_first_error_comes_out_and_calls_off_the_rest():
    cancellation = Cancellation()
    done = []

    def work(i):
        cancellation.check()
        if i == 3:
            raise KeyError(i)
        done.append(i)
        return i

    results = in_order(work, range(1000), 2, cancellation)
    with pytest.raises(KeyError):
        list(results)
    assert len(done) < 20
    with pytest.raises(CancelledError):
        cancellation.check()


def test_closing_does_not_wait_for_work_that_cannot_be_asked():
    cancellation, release, begun = Cancellation(), threading.Event(), threading.Event()

    def work(i):
        if i:
            begun.set()
            assert release.wait(30)
        return i

    results = in_order(work, range(100), 2, cancellation)
    assert next(results) == 0
    assert begun.wait(30)
    results.close()  # would wait for ever
    release.set()


def test_cancelling_ends_what_runs_and_nothing_else():
    cancellation = Cancellation()
    ended = []
    with cancellation.during(lambda: ended.append("over")):
        pass
    with cancellation.during(lambda: ended.append("running")):
        cancellation.cancel()
    assert ended == ["running"]
    with pytest.raises(CancelledError):
        cancellation.check()
    with pytest.raises(CancelledError), cancellation.during(lambda: ended.append("late")):
        pytest.fail("begun after cancelling")
