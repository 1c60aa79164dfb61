"""Tools for trying the bridge: the demo, the sandbox, invented feeds."""
