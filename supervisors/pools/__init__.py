"""Pools: competing consumers on one queue.

The spec is :mod:`~supervisors.pools.spec`, the actor behind it :mod:`~supervisors.pools.pool`; what
can be asked of it is :mod:`~supervisors.pools.admin`. What it decides is pure:
:mod:`~supervisors.pools.policy`.
"""
