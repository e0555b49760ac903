"""Settings: from files, the environment and arguments, to one frozen value, to a client.

Arguments come before environment variables, these before the project's file, that before the user's file, that before
the defaults. The only reader of the environment, but for the proxies' variables, which the HTTP transport heeds.
Nothing is read before `load` is called.
"""

from llm_call.core.config.building import build_client, build_router
from llm_call.core.config.loading import load, project_file, shown, trust_store
from llm_call.core.config.settings import Settings

__all__ = ["Settings", "build_client", "build_router", "load", "project_file", "shown", "trust_store"]
