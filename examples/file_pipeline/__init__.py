"""What is in a directory: every file is recognised, and read as what it is."""
