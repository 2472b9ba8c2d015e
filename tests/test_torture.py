"""Many actors, storms of crashes, cancellation at every await, memory that stays flat."""
