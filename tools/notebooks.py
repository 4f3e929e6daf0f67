"""Execute the notebooks once, test them by it, and hand the result to the book.

`python tools/notebooks.py [NAME ...]` runs every notebook (or the named ones) whose result is not there yet:
a copy in a temporary folder goes through `pytest --nbmake`, is measured, and is put into the cache from which
Jupyter Book builds. A result counts as there if nothing it depends on has changed: its own code, the modules of the
book that it may import, the pinned versions and the version of Python. `--force` runs regardless.

The site's extension calls `fill_cache` before each build, so that a plain `jupyter-book build .` never shows a result
that is out of date: it executes for itself what is not there.
"""

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import nbformat
import psutil
import zmq
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from jupyter_client import KernelManager

sys.path.insert(0, str(Path(__file__).resolve().parent))
import contents

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
PACKAGE = ROOT / "deepseek_explained"
EXECUTED = ROOT / "_build" / "executed"
CACHE = ROOT / "_build" / ".jupyter_cache"
LIMIT = 150  # seconds that a cell, and a whole notebook, may take on two cores
FAIL = 2 * LIMIT  # a notebook this slow fails even on a busy machine


def chapters() -> list[str]:
    """The notebooks' names, in reading order."""
    return contents.chapters(ROOT / "_toc.yml")


def of_chapter(path: Path) -> str:
    """The chapter that a module or a record belongs to: `mla` for mla.py, mla.json and mla.more.json."""
    return path.name.partition(".")[0]


def key(name: str) -> str:
    """A fingerprint of everything that a notebook's result depends on."""
    reading_order = chapters()
    later = reading_order[reading_order.index(name) + 1 :]
    sources = [
        path for path in sorted(PACKAGE.rglob("*")) if path.suffix in (".py", ".toml", ".json")
    ]
    digest = hashlib.sha256(
        f"{platform.python_version()} {platform.system()} {platform.machine()}".encode()
    )
    for cell in nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4).cells:
        if cell.cell_type == "code":
            digest.update(json.dumps([cell.source, cell.metadata], sort_keys=True).encode())
    for path in [
        ROOT / "requirements.txt",
        *(path for path in sources if of_chapter(path) not in later),
    ]:
        digest.update(path.relative_to(ROOT).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def is_current(name: str) -> bool:
    record = EXECUTED / f"{name}.json"
    if not record.exists() or not (EXECUTED / f"{name}.ipynb").exists():
        return False
    return json.loads(record.read_text(encoding="utf-8"))["key"] == key(name)


def run_measured(command: list[str], cwd: Path) -> tuple[int, float, int]:
    """Run a command. Returns its exit status, its seconds, and the peak memory of the kernels below it in bytes."""
    peak = 0
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=cwd)

    def watch() -> None:
        nonlocal peak
        while process.poll() is None:
            in_use = 0
            try:
                for child in psutil.Process(process.pid).children(recursive=True):
                    in_use += child.memory_info().rss
            except psutil.Error:
                pass
            peak = max(peak, in_use)
            time.sleep(0.1)

    watcher = threading.Thread(target=watch)
    watcher.start()
    status = process.wait()
    watcher.join()
    return status, time.perf_counter() - start, peak


def stderr_of(path: Path) -> str:
    """What the cells of an executed notebook wrote to stderr."""
    cells = nbformat.read(path, as_version=4).cells
    outputs = [output for cell in cells if cell.cell_type == "code" for output in cell.outputs]
    return "".join(output.text for output in outputs if output.get("name") == "stderr")


def prepare_matplotlib() -> None:
    """Let matplotlib keep its font list in `_build`, and make it now: it would warn on a page while it does."""
    os.environ.setdefault("MPLCONFIGDIR", str(ROOT / "_build" / "matplotlib"))
    if not any(Path(os.environ["MPLCONFIGDIR"]).glob("fontlist*.json")):
        command = [sys.executable, "-c", "import matplotlib.font_manager"]
        subprocess.run(command, check=True, capture_output=True)


def encrypt_kernels() -> None:
    """Let kernels that this process starts talk to it encrypted where both can: they complain on stderr if not."""
    if zmq.has("curve") and "transport_encryption" in KernelManager.class_trait_names():
        KernelManager.transport_encryption.default_value = "auto"


def execute(name: str, folder: Path) -> tuple[int, float, int]:
    """Run a copy of a notebook in `folder`, by nbmake. Returns exit status, seconds and peak bytes of memory."""
    staged = folder / f"{name}.ipynb"
    shutil.copyfile(NOTEBOOKS / staged.name, staged)
    command = [sys.executable, "-m", "pytest", "--nbmake", "--overwrite"]
    command += [f"--nbmake-timeout={LIMIT}", "-q", "-p", "no:cacheprovider", "--tb=short"]
    command += ["--rootdir", str(folder), staged.name]
    return run_measured(command, cwd=folder)


def put(content: bytes, path: Path) -> None:
    """Write a file: whoever is interrupted leaves the old one whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_bytes(content)
    new.replace(path)


def run(name: str) -> bool:
    """Test one notebook with nbmake and keep the executed copy. Returns False if a cell failed."""
    at_start = key(name)
    with tempfile.TemporaryDirectory(prefix="notebooks-") as folder:
        status, seconds, peak_bytes = execute(name, Path(folder))
        staged = Path(folder) / f"{name}.ipynb"
        if status != 0:
            print(f"{name}: failed after {seconds:.0f} s", file=sys.stderr)
            return False
        said = stderr_of(staged)
        if said:
            print(
                f"{name}: a cell wrote to stderr, which would stand on the page:\n{said}",
                file=sys.stderr,
            )
            return False
        if seconds > LIMIT:
            print(f"{name}: took {seconds:.0f} s; the limit is {LIMIT} s", file=sys.stderr)
        if seconds > FAIL:
            return False
        put(staged.read_bytes(), EXECUTED / staged.name)
    record = {
        "key": at_start,  # whoever edits the notebook meanwhile gets it run again
        "seconds": round(seconds, 1),
        "peak_bytes": peak_bytes,
        "cores": os.cpu_count(),
        "machine": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }
    put((json.dumps(record, indent=2) + "\n").encode(), EXECUTED / f"{name}.json")
    print(f"{name}: {seconds:.0f} s, {peak_bytes / 1e9:.1f} GB")
    return True


def code_cells(notebook: nbformat.NotebookNode) -> list:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def fill_cache(preview: bool = False) -> None:
    """Make the cache that the book is built from hold exactly the results that are current.

    For a preview it holds all chapters, so that none is run: one that is not current with its last outputs, or with
    none if its code has changed.
    """
    cache = get_cache(str(CACHE))
    cache.clear_cache()
    for name in chapters():
        current = is_current(name)
        if not current and not preview:
            continue
        notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
        cells, results = code_cells(notebook), []
        if (executed := EXECUTED / f"{name}.ipynb").exists():
            results = code_cells(nbformat.read(executed, as_version=4))
        # Text may have been added since: if the code cells are the same, so are the outputs.
        if [cell.source for cell in cells] == [cell.source for cell in results]:
            for cell, result in zip(cells, results, strict=True):
                cell.outputs, cell.execution_count = result.outputs, result.execution_count
        record = EXECUTED / f"{name}.json"
        seconds = json.loads(record.read_text(encoding="utf-8"))["seconds"] if current else 0
        bundle = CacheBundleIn(
            notebook, str(NOTEBOOKS / f"{name}.ipynb"), data={"execution_seconds": seconds}
        )
        cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--force", action="store_true", help="run even what is current")
    options = parser.parse_args()
    unknown = set(options.names) - set(chapters())
    if unknown:
        parser.error(f"no such notebook in _toc.yml: {', '.join(sorted(unknown))}")
    prepare_matplotlib()
    wanted = [name for name in options.names or chapters() if options.force or not is_current(name)]
    return 0 if all([run(name) for name in wanted]) else 1


if __name__ == "__main__":
    sys.exit(main())
