"""The longer runs of the chapter on multi-token prediction, recorded in deepseek_explained/recorded/mtp.json.

`python experiments/mtp.py` runs what is not recorded yet, two runs side by side, and writes after each pair; `--jobs N`
stops after N runs. Delete the file to start anew. All in all about half an hour on two cores.
"""

import argparse
import json

import torch
from joblib import Parallel, delayed
from recording import RECORDED, ROOT, commit, processor, rounded, write

from deepseek_explained.mtp import measure_speculation, train_path, train_text

RECORD = RECORDED / "mtp.json"

# (what, which arm, seed, steps)
KINDS = ("none", "parallel", "module", "confined", "blind")
JOBS = [("text", arm, seed, 800) for seed in range(2) for arm in ("none", "module")]
JOBS += [("path", kind, seed, 500) for seed in range(3) for kind in KINDS]
JOBS += [("text", arm, 2, 800) for arm in ("none", "module")]
JOBS += [("text", "parallel", seed, 800) for seed in range(3)]
JOBS += [("path", kind, seed, 500) for seed in (3, 4) for kind in ("module", "confined", "blind")]
JOBS += [("path", "module", 0, 2000)]
TEMPERATURES = (0.0, 0.5, 0.7, 1.0)


def run(job: tuple) -> dict:
    what, arm, seed, steps = job
    if what == "path":
        return rounded(train_path(arm, seed, steps))
    record, model, extra = train_text(arm, seed, steps)
    if arm == "module":
        record["speculation"] = [
            measure_speculation(model, extra, temperature, n_draft=n_draft)
            for n_draft, temperatures in ((1, TEMPERATURES), (2, (1.0,)), (3, (1.0,)))
            for temperature in temperatures
        ]
    return rounded(record)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=10**6, help="stop after so many runs")
    limit = parser.parse_args().jobs
    record = []
    if RECORD.exists():
        record = json.loads(RECORD.read_text(encoding="utf-8"))
    done = {tuple(result["job"]) for result in record}
    missing = [job for job in JOBS if job not in done]
    waiting = missing[:limit]
    where = {"machine": processor(), "torch": torch.__version__, "commit": commit()}
    for first in range(0, len(waiting), 2):
        pair = waiting[first : first + 2]
        for job, result in zip(pair, Parallel(2)(delayed(run)(job) for job in pair), strict=True):
            record.append({"job": list(job), **result, **where})
        write(RECORD, record)
    print(f"ran {len(waiting)}, {len(missing) - len(waiting)} left, in {RECORD.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
