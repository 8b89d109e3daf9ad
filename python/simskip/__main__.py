"""The command line's entry point: says what to install if its packages are missing."""

from .extras import require


def main() -> None:
    """Run ``simskip``."""
    require("typer", "cli", "The command line")
    require("rich", "cli", "The command line")
    from .cli import app

    app()


if __name__ == "__main__":
    main()
