import math

import hypothesis
import pytest

# Cases of a property: a few hundred here, ten thousand in `make fuzz`. No deadline: machines differ.
hypothesis.settings.register_profile(
    "few", max_examples=300, deadline=None, derandomize=True, database=None
)
hypothesis.settings.register_profile("many", max_examples=10_000, deadline=None)
hypothesis.settings.load_profile("few")


@pytest.fixture
def steps_taken(monkeypatch):
    """The steps that a training asks of AdamW: learning rate, weight decays and size of the gradient.

    The optimiser stands still, and spoils each gradient it was given: one that is carried on to the next step shows.
    """
    import torch

    steps = []

    class StandingStill(torch.optim.AdamW):
        def step(self, closure=None):
            parameters = [p for group in self.param_groups for p in group["params"]]
            gradients = [p.grad for p in parameters if p.grad is not None]
            steps.append(
                {
                    "rate": self.param_groups[0]["lr"],
                    "decays": {group["weight_decay"] for group in self.param_groups},
                    "gradient": torch.cat([g.flatten() for g in gradients]).norm().item(),
                }
            )
            for gradient in gradients:
                gradient.fill_(math.nan)

    monkeypatch.setattr(torch.optim, "AdamW", StandingStill)
    return steps
