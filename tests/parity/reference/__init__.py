"""Plain numpy re-implementations of the published equations, apart from the package's own code."""
