"""What runs: the scheduler, the tasks, the life cycle of actors, and the system around them."""
