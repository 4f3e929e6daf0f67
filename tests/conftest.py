import hypothesis

# Cases of a property: a few hundred here, ten thousand in `make fuzz`. No deadline: machines differ.
hypothesis.settings.register_profile(
    "few", max_examples=300, deadline=None, derandomize=True, database=None
)
hypothesis.settings.register_profile("many", max_examples=10_000, deadline=None)
hypothesis.settings.load_profile("few")
