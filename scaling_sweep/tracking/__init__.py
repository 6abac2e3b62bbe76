"""Mirroring a run to Weights & Biases, so that it can neither stop, delay nor slow the run.

The parent process only counts and puts small messages into a queue. One background thread hands
them to a child process, and that child alone imports wandb and talks to it: whatever wandb does to
the interpreter it lives in (exit hooks, a service process, environment variables) or waits for
stays there, and a child can be killed when its time is up.
"""

from scaling_sweep.tracking.tracker import Mode, Tracker, open_tracker

__all__ = ["Mode", "Tracker", "open_tracker"]
