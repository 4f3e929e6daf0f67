"""How fast a hundred thousand draws are, in plain Python. Asserts nothing; the limit is in the tests."""

import time

from keep import keep

from deepseek_explained.total_cost import costs, rungs, simulate


def main() -> None:
    for name, model in (("costs", costs), ("rungs", rungs)):
        seconds = []
        for seed in range(3):
            start = time.perf_counter()
            simulate(n_draws=100_000, seed=seed, model=model)
            seconds.append(time.perf_counter() - start)
        print(f"100,000 draws of {name}: {min(seconds):.2f} to {max(seconds):.2f} s, three seeds")
        keep(f"total_cost.{name}", min(seconds), "s")


if __name__ == "__main__":
    main()
