"""The exceptions that are simskip's own; everything else is ``ValueError``, ``TypeError`` or ``ImportError``."""

__all__ = ["CollapseWarning", "FormatError"]


class FormatError(ValueError):
    """A file is damaged, cut short, or of another kind; the message says what and where."""


class CollapseWarning(UserWarning):
    """Codes that should differ have fallen together; the message names the cause and a remedy."""
