"""Write real photographs into folders named after their classes: something for `simskip run application.yaml`.

Usage: python make_photos.py [--count 600] [--dataset fashion-mnist] [--folder photos]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

import simskip

DATASETS = {"fashion-mnist": simskip.datasets.fashion_mnist, "cifar10": simskip.datasets.cifar10}


def write_photos(folder: Path, count: int, dataset: str = "fashion-mnist") -> int:
    """Write the first ``count`` photographs of a data set; files that are there already are left alone."""
    items = DATASETS[dataset]("train")[:count]
    written = 0
    for number, (pixels, label) in enumerate(zip(items.images, items.labels, strict=True)):
        name = items.label_names[label].lower().replace("/", "-").replace(" ", "-")
        path = folder / name / f"{number:05d}.png"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
            written += 1
    return written


def main() -> None:
    """Read the options, write, say how many."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=600, help="photographs")
    parser.add_argument("--dataset", choices=DATASETS, default="fashion-mnist")
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent / "photos")
    options = parser.parse_args()
    if options.count < 1:
        parser.error("--count must be at least 1")
    written = write_photos(options.folder, options.count, options.dataset)
    print(f"{written:,} photographs written to {options.folder}")


if __name__ == "__main__":
    main()
