"""Shards: many keys, each with one live owner.

The spec is :mod:`~supervisors.sharding.spec`. A :mod:`~supervisors.sharding.router` finds the shard
of a message and the host that has it; a :mod:`~supervisors.sharding.host` runs the actors. What
they decide is pure: :mod:`~supervisors.sharding.policy`. What can be asked of shards is
:mod:`~supervisors.sharding.admin`; what a class can say of how it lives in them,
:mod:`~supervisors.sharding.sharded`.
"""
