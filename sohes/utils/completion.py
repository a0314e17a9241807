"""Completion of a command's options by the shell."""
import argparse


def complete(parser: argparse.ArgumentParser) -> None:
    """Answer a shell that asks how a command line may go on.

    It does so through argcomplete, where that is installed; else, and when
    no shell asks, nothing happens. A command that calls this before it parses
    has ``# PYTHON_ARGCOMPLETE_OK`` in its first lines.
    """
    try:
        import argcomplete
    except ImportError:
        return
    argcomplete.autocomplete(parser)
