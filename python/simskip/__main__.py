"""The command line's entry point: says what to install if its packages are missing."""

import sys

from .extras import require


def main() -> None:
    """Run ``simskip``."""
    try:
        require("typer", "cli", "The command line")
        require("rich", "cli", "The command line")
    except ImportError as error:
        sys.exit(f"simskip: {error}")
    try:
        from .cli import app

        app()
    except KeyboardInterrupt:  # before a command has begun
        sys.exit(130)


if __name__ == "__main__":
    main()
