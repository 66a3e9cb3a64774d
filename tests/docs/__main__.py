"""Makes the site of the reference: ``python -m tests.docs DIRECTORY``.

``python -m tests.docs --pictures`` draws the pictures anew that are kept beside this file.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path


def main() -> None:
    """Do what the command line says."""

    parser = argparse.ArgumentParser(prog="python -m tests.docs", description=__doc__)
    parser.add_argument("directory", nargs="?", type=Path, help="where to write the site")
    parser.add_argument("--pictures", action="store_true", help="draw the pictures anew")
    options = parser.parse_args()
    if options.pictures:
        from tests.docs.pictures import PICTURES

        for path, draw in PICTURES.items():
            path.write_text(draw(), "utf-8")
    if options.directory is not None:
        from tests.docs.site import build

        warnings.simplefilter("error")
        # Some types of obstore are there for type checkers alone.
        warnings.filterwarnings("ignore", r".* for ftpdata\.objectstore\.", UserWarning)
        build(options.directory)


if __name__ == "__main__":
    main()
