"""A bounded queue to a child process that may hang, die or never start without anyone waiting."""

import os
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from scaling_sweep.tracking.messages import Close, Message, write_message

# A message is below 1 kB; a mirror that is 4,096 packs behind will not catch up (guess).
MAX_WAITING = 4096
# How long helpers of a killed child get to notice; they need milliseconds.
_JOIN_S = 1.0


class Outbox:
    """Hands messages to a child process on a thread of its own.

    The child reads messages from its standard input and writes lines for people to its standard
    output. It starts with the first message, in a session of its own, so that Ctrl-C in the
    terminal does not reach it.

    Args:
        command: How to start the child.
        environment: Its environment.
        say: Shows one line to a person; called from background threads too.
        max_waiting: Messages that may wait before more are dropped.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        say: Callable[[str], None],
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self._command = command
        self._environment = environment
        self._say = say
        self._max_waiting = max_waiting
        self._queue: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._pump = threading.Thread(target=self._run, name="wandb-outbox", daemon=True)
        self._listener = threading.Thread(target=self._listen, name="wandb-listener", daemon=True)
        self._process: subprocess.Popen[bytes] | None = None
        self._broken = False
        self._spoken = False
        self._num_dropped = 0

    def send(self, message: Message) -> None:
        """Queue a message that must not be dropped; there are few of them."""
        if self._broken:
            return
        self._queue.put(message)
        if self._pump.ident is None:
            self._pump.start()

    def offer(self, message: Message) -> None:
        """Queue a message, or drop and count it when too many are waiting already."""
        # Only the sweep's thread puts messages in, so nothing comes between look and put.
        if self._queue.qsize() >= self._max_waiting:
            self._num_dropped += not self._broken
            return
        self.send(message)

    def close(self, exit_code: int, timeout_s: float) -> bool:
        """Let the child finish, and kill it when it takes longer than it may.

        Args:
            exit_code: 0 when the sweep ended as it should.
            timeout_s: Most seconds to wait, in all.

        Returns:
            Whether the child took everything and ended well in time.
        """
        if self._pump.ident is None:
            return True
        deadline = time.monotonic() + timeout_s
        self._queue.put(Close(exit_code))
        finished = False
        try:
            self._pump.join(timeout_s)
            finished = self._process is None or _wait(self._process, deadline)
        finally:
            # Also when Ctrl-C comes while waiting: then the wait is over at once.
            self._end()
        self._report(finished, timeout_s)
        ended_well = self._process is not None and self._process.returncode == 0
        return finished and ended_well and not self._num_dropped

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            _wait(self._process, time.monotonic() + _JOIN_S)
        # The pump first: it is what starts the listener, and time may be up before it came to that.
        self._pump.join(_JOIN_S)
        if self._listener.ident is not None:
            self._listener.join(_JOIN_S)

    def _report(self, finished: bool, timeout_s: float) -> None:
        if not finished:
            self._say(
                f"Weights & Biases did not finish within {timeout_s:g} s and was left behind; "
                "the run folder has everything."
            )
        elif self._process is not None and self._process.returncode != 0 and not self._spoken:
            self._say(
                f"Weights & Biases stopped with exit code {self._process.returncode}; "
                "the run folder has everything."
            )
        if self._num_dropped:
            self._say(
                f"Weights & Biases was too slow: {self._num_dropped:,} packs are missing in its "
                "history; its final tables and the run folder have them."
            )

    def _run(self) -> None:
        """Start the child and write to it, until the last message or its death."""
        try:
            self._process = subprocess.Popen(
                self._command,
                env=dict(self._environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            self._broken = True
            self._say(
                f"Weights & Biases could not be started ({error}); the run folder has everything."
            )
            return
        self._listener.start()
        stdin = self._process.stdin
        assert stdin is not None
        try:
            with stdin:
                message: Message | None = None
                while not isinstance(message, Close):
                    message = self._queue.get()
                    write_message(stdin, message)
        except BrokenPipeError:
            # The child is gone; it has said why, or close() does.
            self._broken = True

    def _listen(self) -> None:
        """Show what the child has to say."""
        assert self._process is not None
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._spoken = True
                self._say(line.decode(errors="replace").rstrip())


def _wait(process: subprocess.Popen[bytes], deadline: float) -> bool:
    """Return whether a process ended before the deadline."""
    try:
        process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return False
    return True


def inherited_environment(dropped: Sequence[str], added: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment for a child.

    Args:
        dropped: Variables the child must not see.
        added: Variables it gets instead or beside.

    Returns:
        The environment.
    """
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return {**kept, **added}
