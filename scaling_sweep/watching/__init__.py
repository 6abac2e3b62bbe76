"""Watching a run from outside: everything here reads its folder and writes nothing."""

from scaling_sweep.watching.reader import RunReader
from scaling_sweep.watching.view import RunView, StoredPack

__all__ = ["RunReader", "RunView", "StoredPack"]
