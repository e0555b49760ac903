"""`python -m llm_call` is the command line."""

from llm_call.cli.main import main

main()
