"""The pure part: a workflow's code fed with events, live and on replay. Nothing waits or writes."""
