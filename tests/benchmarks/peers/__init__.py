"""Other libraries on the same work, each in a venv of its own."""
