import signal

from hypothesis import settings

# A busy machine is no failure.
settings.register_profile("no-clock", deadline=None)
settings.load_profile("no-clock")

# Started in the background by a shell, a process ignores Ctrl-C, and so do its children: many tests send one.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
