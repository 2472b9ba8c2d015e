"""Programs to run, to read and to take from. Each has a test that runs it."""
