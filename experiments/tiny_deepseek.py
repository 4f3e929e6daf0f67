"""The longer runs of the chapter on the whole model: run what deepseek_explained/recorded/tiny_deepseek.json lacks.

`python experiments/tiny_deepseek.py` runs everything that is not recorded yet, two runs side by side, and writes after
each; `--jobs N` stops after N runs. Delete the file to start anew. Ten minutes on two cores.
"""

import argparse
import json
import time

import torch
from joblib import Parallel, delayed
from recording import RECORDED, ROOT, commit, processor, rounded, write

from deepseek_explained.tiny_deepseek import ARMS, PEAK, train_arm

RECORD = RECORDED / "tiny_deepseek.json"

STEPS = 200
LONGER = 350  # steps that the twins make in about the seconds of the toy's 200
LIVE = 40
SEEDS = range(3)
# which arm, seed, steps, highest learning rate
JOBS = [(arm, seed, STEPS, PEAK) for seed in SEEDS for arm in ARMS]
JOBS += [(arm, seed, LONGER, PEAK) for seed in SEEDS for arm in ("twin", "normed twin")]
# as short as the chapter's live runs, which must agree
JOBS += [(arm, seed, LIVE, PEAK) for seed in SEEDS for arm in ("deepseek", "twin")]
# does the highest learning rate decide?
RATES = (0.5 * PEAK, 2 * PEAK)
JOBS += [(a, s, STEPS, rate) for rate in RATES for s in SEEDS for a in ("deepseek", "twin")]


def run(job: tuple) -> dict:
    arm, seed, steps, peak = job
    record, _ = train_arm(arm, seed, steps, measure_every=40, peak=peak)
    record["losses"] = record["losses"][9::10]
    return {"job": [arm, seed, steps, peak], **record}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=10**6, help="stop after so many runs")
    limit = parser.parse_args().jobs
    record = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else []
    done = {tuple(result["job"]) for result in record}
    missing = [job for job in JOBS if job not in done]
    waiting = missing[:limit]
    where = {"machine": processor(), "torch": torch.__version__, "commit": commit()}
    where["date"] = time.strftime("%Y-%m-%d")
    runs = Parallel(2, return_as="generator_unordered")(delayed(run)(job) for job in waiting)
    for result in runs:
        record.append({**rounded(result), **where})
        record.sort(key=lambda one: one["job"])  # not by which was done first
        write(RECORD, record)
    print(f"{len(missing) - len(waiting)} of {len(JOBS)} left, in {RECORD.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
