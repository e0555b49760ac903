"""Effects: tools that really run while a model is asked. `base` is what a box of tools is, `mcp` has those of MCP servers."""
