"""A live page of a run for those without an account anywhere: this machine's browser, read only.

A child process of low priority reads the run folder and answers; the run itself only starts it
and lets go of it. So the page cannot slow, stop or delay a sweep, whatever asks for it.
"""

from scaling_sweep.serving.launching import serving

__all__ = ["serving"]
