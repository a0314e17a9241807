"""What mim would start for each command line, without starting it.

    python mim_driver.py COMMANDS.json

mim comes to its end in the same process; where it would start a program,
the command is noted, and counts as working if every script and
configuration in it exists. Prints a json: for each command whether it
worked, and what mim printed.
"""
import contextlib
import io
import json
import subprocess
import sys
import time
from pathlib import Path

from mim.cli import cli

STARTED: list[list[str]] = []


def note(command: list[str], **_: object) -> int:
    """In place of subprocess.check_call."""
    STARTED.append([str(word) for word in command])
    missing = [word for word in STARTED[-1]
               if word.endswith('.py') and not Path(word).exists()]
    if missing:
        raise FileNotFoundError(f'{missing}')
    return 0


def note_output(command: list[str], **_: object) -> bytes:
    """In place of subprocess.check_output."""
    note(command)
    return b''


def answer(args: list[str]) -> dict:
    """One command line of mim."""
    STARTED.clear()
    printed = io.StringIO()
    worked = True
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(
            printed):
        try:
            cli.main(args, standalone_mode=False)
        except SystemExit as error:
            worked = not error.code
        except Exception as error:
            printed.write(f'{type(error).__name__}: {error}')
            worked = False
    return dict(worked=worked, printed=printed.getvalue(), started=STARTED[:])


if __name__ == '__main__':
    subprocess.check_call = note
    subprocess.check_output = note_output
    time.sleep = lambda seconds: None
    commands = json.loads(Path(sys.argv[1]).read_text())
    result = {name: answer(args) for name, args in commands.items()}
    print(json.dumps(result))
