"""The longer runs of the chapter on latent attention: run what is missing in deepseek_explained/recorded/mla.json.

`python experiments/mla.py` runs everything that is not recorded yet, two runs side by side, and writes after each pair;
`--jobs N` stops after N runs. Delete the file to start anew. All in all about 20 minutes on two cores.
"""

import argparse
import json
import platform

import torch
from joblib import Parallel, delayed
from recording import RECORDED, ROOT, commit, processor, rounded, write

from deepseek_explained.mla import measure_rank, train_recall

RECORD = RECORDED / "mla.json"
SEEDS = range(5)

# A model: kind of attention, cached numbers per token, how many numbers of each key are turned, norm on what is kept.
# Without rotary encoding, with and without the norm:
MODELS = [("heads", cached, 0, norm) for cached in (8, 16, 32, 64, 128) for norm in (False, True)]
MODELS += [("latent", cached, 0, norm) for cached in (8, 16, 32, 64) for norm in (False, True)]
RECALL = [(*model, seed, 500, 6e-3) for seed in SEEDS for model in MODELS]
# As the two are usually built, the norm on the latent only: at other learning rates, and twice as long:
SETTINGS = [(500, 3e-3), (500, 1.2e-2), (1000, 6e-3)]
SMALL = [("heads", 32, 0, False), ("latent", 32, 0, True)]
SMALL += [("heads", 16, 0, False), ("latent", 16, 0, True)]
RECALL += [(*model, seed, *setting) for setting in SETTINGS for seed in range(3) for model in SMALL]
# and with part of each key turned, or all of it:
TURNED = [("heads", 128, 4, False)]
TURNED += [("heads", cached, 8, False) for cached in (128, 64, 32, 16)]
TURNED += [("latent", cached, 4, True) for cached in (64, 32, 16)]
RECALL += [(*model, seed, 500, 6e-3) for seed in range(3) for model in TURNED]
RANK = [(seed, 600) for seed in range(3)]


def run(job: tuple) -> dict:
    return measure_rank(*job) if len(job) == 2 else train_recall(*job)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=10**6, help="stop after so many runs")
    limit = parser.parse_args().jobs
    record = {"recall": [], "rank": []}
    if RECORD.exists():
        record = json.loads(RECORD.read_text(encoding="utf-8"))
    done = {tuple(result["job"]) for part in ("recall", "rank") for result in record[part]}
    missing = [job for job in [*RECALL, *RANK] if job not in done]
    waiting = missing[:limit]
    where = {
        "machine": processor(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "commit": commit(),
    }
    for first in range(0, len(waiting), 2):
        pair = waiting[first : first + 2]
        for job, result in zip(pair, Parallel(2)(delayed(run)(job) for job in pair), strict=True):
            part = "rank" if len(job) == 2 else "recall"
            record[part].append({"job": list(job), **rounded(result), **where})
        write(RECORD, record, indent=1)
    left = len(missing) - len(waiting)
    print(f"ran {len(waiting)}, {left} left, in {RECORD.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
