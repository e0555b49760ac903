"""State that outlives a call: breakers, limits and retry budgets, in this process or shared."""
