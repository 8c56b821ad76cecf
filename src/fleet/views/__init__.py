"""Views of the fleet state. Pure: they take a `Fleet` and the clocks, and return data; the CLI prints."""
