"""Build the site into `_build/html`, beside the former one, which stays whole until the new one is done.

`python tools/build.py` builds all. `python tools/build.py --update budget` builds what has changed since, runs no other
chapter, and prints where the page of this one is.
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

import notebooks

BUILD = Path(__file__).resolve().parent.parent / "_build"
NEXT = BUILD / "next"  # what a failed or interrupted build leaves, its reports included
PARTS = "html", ".doctrees"
COMMAND = [str(Path(sys.executable).with_name("jupyter-book")), "build", "."]
COMMAND += ["-W", "-n", "--keep-going", "--quiet", "--path-output", str(NEXT)]


def build(command: list[str], update: bool = False) -> int:
    """Run a command that writes PARTS into NEXT/_build, and put them in place if it succeeds. Returns its status."""
    made, former = NEXT / "_build", NEXT / "former"
    shutil.rmtree(NEXT, ignore_errors=True)
    former.mkdir(parents=True)
    if update:
        for part in filter(Path.is_dir, (BUILD / part for part in PARTS)):
            shutil.copytree(part, made / part.name)
    # What it says on stdout names the folder that the site will have left.
    environment = os.environ | ({"BOOK_PREVIEW": "1"} if update else {})
    status = subprocess.run(
        command, cwd=BUILD.parent, env=environment, stdout=subprocess.DEVNULL
    ).returncode
    if status == 0:
        for part in PARTS:
            if (BUILD / part).exists():
                (BUILD / part).rename(former / part)
            (made / part).rename(BUILD / part)
        shutil.rmtree(NEXT)
    return status


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--update", metavar="CHAPTER", help="build what has changed")
    chapter = parser.parse_args().update
    status = build(COMMAND, update=bool(chapter))
    if status == 0:
        old = [name for name in notebooks.chapters() if not notebooks.is_current(name)]
        if old:
            print(f"With old results or none, not run since something changed: {', '.join(old)}")
        page = f"notebooks/{chapter}.html" if chapter else "index.html"
        print(f"The {'page' if chapter else 'book'}: {(BUILD / 'html' / page).as_uri()}")
    return status


if __name__ == "__main__":
    sys.exit(main())
