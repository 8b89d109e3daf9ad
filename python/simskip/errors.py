"""The exceptions that are simskip's own; everything else is ``ValueError``, ``TypeError`` or ``ImportError``."""

__all__ = ["CollapseWarning", "CollectionError", "FormatError"]


class FormatError(ValueError):
    """A file is damaged, cut short, or of another kind; the message says what and where."""


class CollectionError(OSError):
    """A collection's file cannot be read or written now: locked, no space, no permission; nothing was lost."""


class CollapseWarning(UserWarning):
    """Codes that should differ have fallen together; the message names the cause and a remedy."""
