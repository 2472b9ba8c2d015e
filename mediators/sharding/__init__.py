"""Mediators in shards: every workflow id has one live owner, and one journal has one writer.

``Shards(Child(Orders), count=8, processes=2)`` runs a mediator for each shard. Which shard a
message is for is :mod:`~mediators.sharding.keys`; their histories are written by one
:mod:`~mediators.sharding.writer`, of which each mediator has a :mod:`~mediators.sharding.shard`;
what cannot leave a process travels in another form, see :mod:`~mediators.verbs`.
"""
