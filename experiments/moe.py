"""The longer runs of the chapter on experts, recorded in deepseek_explained/recorded/moe.json.

`python experiments/moe.py` runs all six parts (about twenty minutes on two cores), `python experiments/moe.py
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
OTHER_RATES = (0.005, 0.03)  # beside the 0.01 of the balance runs


def at_rates(arms: dict[str, dict], rates: tuple[float, ...]) -> dict[str, dict]:
    """Each arm at each learning rate."""
    return {
        f"{name}, rate {rate}": arm | {"learning_rate": rate}
        for name, arm in arms.items()
        for rate in rates
    }


def arms(part: str) -> dict[str, dict]:
    """name -> arguments of train_toy, for the long runs of a part."""
    if part == "balance":
        easy = {
            f"{name}, easy start": arm | {"sameness": 0.0} for name, arm in BALANCE_ARMS.items()
        }
        return BALANCE_ARMS | easy
    if part == "rates":
        return at_rates(BALANCE_ARMS, OTHER_RATES)
    if part == "scope":
        return SCOPE_ARMS
    if part == "time":
        return at_rates(
            {name: BUDGET_ARMS[name] for name in ("dense", "experts")}, LEARNING_RATES[:2]
        )
    if part == "sizes":
        return SIZE_ARMS
    return at_rates(BUDGET_ARMS, LEARNING_RATES)


def as_long(results: list[dict], work: list[tuple]) -> list[tuple]:
    """Runs of the dense twin that last as long as those with experts: more steps, by the measured seconds."""

    def seconds(name: str) -> float:
        return sum(
            result["seconds"]
            for job, result in zip(work, results, strict=True)
            if job[1].startswith(name)
        )

    steps = round(LONG * seconds("experts") / seconds("dense"))
    return [
        (length, name.replace("dense", "dense, longer"), arm, seed, steps)
        for length, name, arm, seed, _ in work
        if name.startswith("dense")
    ]


SHORT_ARMS = {
    "budget": BUDGET_ARMS,
    "time": {},
    "balance": BALANCE_ARMS,
    "rates": {},
    "scope": {},
    "sizes": SIZE_ARMS,
}


def run(arguments: dict, seed: int, steps: int) -> dict:
    result = train_toy(seed=seed, steps=steps, **arguments)
    record = {"seed": seed, "steps": steps, **summarise(result)}
    if arguments in BALANCE_ARMS.values():  # the curves of the balance figure
        record["max_violation"] = result["max_violation"]
    return rounded(record, digits=4)


def train(work: list[tuple], jobs: int) -> list[dict]:
    return Parallel(n_jobs=jobs)(delayed(run)(arm, seed, steps) for _, _, arm, seed, steps in work)


def machine() -> str:
    return f"{os.cpu_count()} cores, {processor()}, {platform.system()}, torch {torch.__version__}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=list(SHORT_ARMS), metavar="PART")
    parser.add_argument("--seeds", type=int, help="of each long run; 5, or 3 for the rates")
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
            for seed in range(options.seeds or (3 if part == "rates" else 5))
        ]
        results = train(work, options.jobs)
        if part == "time":
            more = as_long(results, work)
            results, work = results + train(more, options.jobs), work + more
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
