"""The chapter's measurement on a quiet machine, recorded in deepseek_explained/recorded/training_cost.json.

`python experiments/training_cost.py` runs the notebook's own cell (the one with the tag `measurement`) with more seeds
and steps than the page does, in about three minutes on one core. What else runs on the machine only ever makes a step
slower, so a run in which the seeds agree better replaces the record, and one in which they agree less does not.
"""

import json
import os
import sys
import time

from recording import RECORDED, ROOT, commit, processor, write

from deepseek_explained.budget import ModelSpec, training_flops_per_token

NOTEBOOK = ROOT / "notebooks" / "training_cost.ipynb"
RECORD = RECORDED / "training_cost.json"
N_SEEDS, N_ROUNDS = 5, 10
LARGEST_SPREAD = 1.5  # as on the page: above it, the machine was too busy


def measurement() -> dict:
    """The names that the notebook's cell of that tag defines."""
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    (cell,) = [cell for cell in cells if "measurement" in cell["metadata"].get("tags", [])]
    names = {
        "os": os,
        "time": time,
        "ModelSpec": ModelSpec,
        "training_flops_per_token": training_flops_per_token,
    }
    exec("".join(cell["source"]), names)
    return names


def main() -> None:
    names = measurement()
    start = time.perf_counter()
    peak, fastest, in_optimizer = names["measure"](N_SEEDS, N_ROUNDS)
    seconds = time.perf_counter() - start
    shares = names["shares_reached"](peak, fastest)
    for name, values in shares.items():
        print(f"{name:17}", " ".join(f"{value:.1%}" for value in values))
    spread = names["largest_spread"](shares)
    print(f"peak {peak / 1e9:.0f} GFLOP/s, spread {spread:.3f}, {seconds:.0f} s")
    limit = LARGEST_SPREAD
    if RECORD.exists():
        before = json.loads(RECORD.read_text(encoding="utf-8"))
        limit = names["largest_spread"](names["shares_reached"](before["peak"], before["fastest"]))
    if spread >= limit:
        sys.exit(f"spread {limit:.3f} or more: the machine was too busy, nothing recorded")
    record = {
        "machine": f"{os.cpu_count()} cores, {processor()}",
        "torch": names["torch"].__version__,
        "threads": names["torch"].get_num_threads(),
        "date": time.strftime("%Y-%m-%d"),
        "seconds": round(seconds),
        "commit": commit(),
        "n_seeds": N_SEEDS,
        "n_rounds": N_ROUNDS,
        "peak": peak,
        "fastest": fastest,
        "in_optimizer": in_optimizer,
    }
    write(RECORD, record, indent=1)


if __name__ == "__main__":
    main()
