"""The command line: one command a job."""

from cortexrnn.cli.entry import cli, main

__all__ = ["cli", "main"]
