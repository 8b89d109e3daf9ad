"""The lock that many read and one writes under."""

import threading

import pytest

from simskip.index.locks import ReadWriteLock

TIMEOUT = 30  # only ever waited for when a test fails


def in_thread(work) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_readers_share_it():
    lock, together = ReadWriteLock(), threading.Barrier(3, timeout=TIMEOUT)

    def read():
        with lock.reading():
            together.wait()

    threads = [in_thread(read) for _ in range(3)]
    for thread in threads:
        thread.join(TIMEOUT)
    assert not together.broken
    assert not any(thread.is_alive() for thread in threads)


def test_writers_are_alone():
    lock, inside, worst = ReadWriteLock(), [0], [0]

    def write():
        for _ in range(300):
            with lock.writing():
                inside[0] += 1
                worst[0] = max(worst[0], inside[0])
                inside[0] -= 1
            with lock.reading():
                worst[0] = max(worst[0], 1 + inside[0])

    threads = [in_thread(write) for _ in range(4)]
    for thread in threads:
        thread.join(TIMEOUT)
    assert not any(thread.is_alive() for thread in threads)
    assert worst[0] == 1


def test_a_waiting_writer_goes_before_new_readers():
    lock, order = ReadWriteLock(), []
    first_in, first_out = threading.Event(), threading.Event()

    def first():
        with lock.reading():
            first_in.set()
            first_out.wait(TIMEOUT)

    def write():
        with lock.writing():
            order.append("writer")

    def second():
        with lock.reading():
            order.append("reader")

    threads = [in_thread(first)]
    assert first_in.wait(TIMEOUT)
    threads.append(in_thread(write))
    while not lock._waiting:
        pass
    threads.append(in_thread(second))
    first_out.set()
    for thread in threads:
        thread.join(TIMEOUT)
    assert order == ["writer", "reader"]


def test_it_is_free_again_after_an_error():
    lock = ReadWriteLock()
    for mode in (lock.reading, lock.writing):
        with pytest.raises(KeyError), mode():
            raise KeyError
    with lock.writing():
        pass
