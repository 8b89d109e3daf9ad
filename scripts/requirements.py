"""Print requirements from pyproject.toml, one per line, so that no version is typed twice.

Usage: requirements.py build          what the build needs, pythran left out (see below)
       requirements.py no-deps       what is installed without its dependencies
       requirements.py extra NAME ... what these extras need, simskip's own extras expanded
"""

import re
import sys
from pathlib import Path

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    from pip._vendor import tomli as tomllib

project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())
extras = project["project"]["optional-dependencies"]


def expand(names: list[str]) -> set[str]:
    """The requirements of extras; "simskip[a,b]" stands for theirs."""
    found: set[str] = set()
    for name in names:
        for requirement in extras[name]:
            own = re.fullmatch(r"simskip\[(.+)\]", requirement)
            found |= expand(own[1].split(",")) if own else {requirement}
    return found


# pythran is wanted for the headers inside its wheel alone; its own requirements pin an old setuptools.
build = project["build-system"]["requires"] + project["tool"]["scikit-build"]["build"]["requires"]
headers = [requirement for requirement in build if requirement.startswith("pythran")]
match sys.argv[1:]:
    case ["build"]:
        print(*(set(build) - set(headers)), "cmake>=3.21", "ninja", sep="\n")
    case ["no-deps"]:
        print(*headers, sep="\n")
    case ["extra", *names]:
        print(*sorted(expand(names) | set(project["project"]["dependencies"])), sep="\n")
    case _:
        sys.exit(__doc__)
