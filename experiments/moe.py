"""The longer runs of the chapter on experts, recorded in deepseek_explained/recorded/moe.json.

`python experiments/moe.py` runs all four parts (about fifteen minutes on two cores), `python experiments/moe.py
balance` one of them. Every record names seeds, steps, machine, duration and the commit it was made from. The chapter
draws these runs beside its own short ones, which are repeated here with the same seeds so that the two can be compared.
"""

import argparse
import json
import os
import platform
import time

import torch
from joblib import Parallel, delayed
from recording import RECORDED, commit, processor, rounded, write

from deepseek_explained.moe import (
    BALANCE_ARMS,
    BUDGET_ARMS,
    SCOPE_ARMS,
    SIZE_ARMS,
    summarise,
    train_toy,
)

RECORD = RECORDED / "moe.json"
SHORT, LONG = 200, 600  # steps: as in the notebook, and three times as many
LEARNING_RATES = (0.01, 0.03, 0.1)  # the best of each arm lies inside


def arms(part: str) -> dict[str, dict]:
    """name -> arguments of train_toy, for the long runs of a part."""
    if part == "balance":
        easy = {
            f"{name}, easy start": arm | {"sameness": 0.0} for name, arm in BALANCE_ARMS.items()
        }
        return BALANCE_ARMS | easy
    if part == "scope":
        return SCOPE_ARMS
    if part == "sizes":
        return SIZE_ARMS
    return {
        f"{name}, rate {rate}": arm | {"learning_rate": rate}
        for name, arm in BUDGET_ARMS.items()
        for rate in LEARNING_RATES
    }


SHORT_ARMS = {"budget": BUDGET_ARMS, "balance": BALANCE_ARMS, "scope": {}, "sizes": SIZE_ARMS}


def run(arguments: dict, seed: int, steps: int) -> dict:
    result = train_toy(seed=seed, steps=steps, **arguments)
    record = {"seed": seed, "steps": steps, **summarise(result)}
    if arguments.get("sameness"):  # the curves of the balance figure
        record["max_violation"] = result["max_violation"]
    return rounded(record, digits=4)


def machine() -> str:
    return f"{os.cpu_count()} cores, {processor()}, {platform.system()}, torch {torch.__version__}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=list(SHORT_ARMS), metavar="PART")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    if unknown := set(options.parts) - set(SHORT_ARMS):
        parser.error(
            f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(SHORT_ARMS)}"
        )
    for part in options.parts:
        start = time.perf_counter()
        work = [
            ("short", name, arm, seed, SHORT)
            for name, arm in SHORT_ARMS[part].items()
            for seed in range(3)
        ]
        work += [
            ("long", name, arm, seed, LONG)
            for name, arm in arms(part).items()
            for seed in range(options.seeds)
        ]
        results = Parallel(n_jobs=options.jobs)(
            delayed(run)(arm, seed, steps) for _, _, arm, seed, steps in work
        )
        record = {
            "machine": machine(),
            "jobs": options.jobs,
            "commit": commit(),
            "date": time.strftime("%Y-%m-%d"),
            "seconds": round(time.perf_counter() - start),
            "short": {},
            "long": {},
        }
        for (length, name, *_), result in zip(work, results, strict=True):
            record[length].setdefault(name, []).append(result)
        everything = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
        everything[part] = record
        write(RECORD, everything)
        print(f"{part}: {record['seconds']} s")
        for name, results in record["long"].items():
            print(f"  {name:22} excess", " ".join(f"{result['excess']:.3f}" for result in results))


if __name__ == "__main__":
    main()
