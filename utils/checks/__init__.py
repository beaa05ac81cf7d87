"""Instant answers to the exercises: ``check("02.3", gradient)`` and ``hint("02.3")``.

Each chapter's exercises are examined in a module of its own, ``ch01`` to ``ch14``; :mod:`.engine` runs
the learner's code and compares what it gives.
"""

from utils.checks.engine import check, hint

__all__ = ["check", "hint"]
