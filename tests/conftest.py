import os
import signal

import pytest
from hypothesis import settings

import simskip

# A busy machine is no failure, and the same tree gives the same answer every time. `make test-all` draws new examples.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.register_profile("exploring", deadline=None)
settings.load_profile(os.environ.get("SIMSKIP_HYPOTHESIS_PROFILE", "repeatable"))

# Started in the background by a shell, a process ignores Ctrl-C, and so do its children: many tests send one.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def default_threads():
    """Some commands and benchmarks set the number of threads, for the whole process."""
    yield
    simskip.set_threads(None)
