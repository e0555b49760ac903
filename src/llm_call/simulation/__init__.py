"""The simulator: a user's own policies, in the engine that runs them, on a virtual clock against modelled providers.

Rule: nothing of the engine is copied. What is modelled is the peer alone, as a `Transport`; time is `FakeClock`'s. Every
draw of chance comes from one seed, so the same policies, scenario and seed give the same report.
"""
