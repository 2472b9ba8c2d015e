"""Actors in operating system processes of their own, behind the same refs.

Who stands for such an actor in its place is :mod:`~actors.isolation.isolated`; its process is a
worker (:mod:`~actors.isolation.worker_process`), which a keeper starts and reaps
(:mod:`~actors.isolation.keeper`). Between the two processes is a :mod:`~actors.isolation.link`.
"""
