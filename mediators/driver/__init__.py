"""What runs workflows: turns, commits, attempts, recovery, and what is asked from outside."""
