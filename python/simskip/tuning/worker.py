"""A process that runs trials when told to: ``python -m simskip.tuning.worker FOLDER`` (started by ``run_parallel``).

It reads a number per line from its input, runs the trial with that index, and answers with the trial's number. It ends
with its input, so it does not outlive the process that started it by more than a trial.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from ..hashing.neighbor_graph import remembered
from .space import Space
from .storage import opened
from .task import Ground, Settings
from .trial import Plan, quiet, run_trial

__all__ = ["main"]


def main(folder: str) -> int:
    """Run trials until the input ends; the exit status is 130 after Ctrl-C."""
    import optuna

    described = json.loads((Path(folder) / "worker.json").read_text())
    ground = Ground.load(folder, Settings.from_dict(described["settings"]))
    space, plan = Space(described["space"]), Plan(**described["plan"])
    try:
        with quiet(), remembered():
            study = optuna.load_study(study_name=described["name"], storage=opened(described["storage"]))
            for line in sys.stdin:
                number = run_trial(study, ground, space, plan, int(line))
                print(number, flush=True)
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
