"""The command line: one file per command, loaded only when it is called."""

import importlib

import click

from scaling_sweep import __version__

# The first line of each command's help, so that `--help` need not import any of them. A test
# holds them against the commands.
COMMANDS = {
    "plan": "Say what a sweep file would run and what it costs; run nothing.",
    "predict": "Measure curvature and say what theory makes of it, without training trials.",
    "run": "Run a sweep file; the same command resumes it, a longer file extends it.",
    "status": "Say how far a run is.",
    "publish": "Mirror a finished or interrupted run to Weights & Biases.",
    "dashboard": "Make a workspace and a report of a study in Weights & Biases.",
    "fit": "Fit laws to a table of trials and hold the exponents against theory.",
    "recommend": "Recommend a learning rate for a batch size from measured edges.",
    "new-task": "Write a task of your own to begin with, and a sweep file beside it.",
    "check-task": "Look at a task from all sides and say what a sweep would meet.",
    "tasks": "List tasks, optimizers and methods.",
    "doctor": "Look whether everything is there that a run needs, and say what to mend.",
}


class _LazyGroup(click.Group):
    """A group whose commands are imported by name when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order one uses them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"scaling_sweep.cli.{cmd_name.replace('-', '_')}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="scaling-sweep")
def main() -> None:
    """Measure how the largest stable learning rate of your model grows with batch size.

    \b
    A study from beginning to end:
      scaling-sweep plan sweeps/digits.yaml
      scaling-sweep run sweeps/digits.yaml
      scaling-sweep fit runs/digits/results.parquet
    """
