"""Which checkpoint a run goes on from: the last one that is whole."""
import logging
import re
import zipfile
from pathlib import Path

from sohes.utils.errors import UsageError

_LOG = logging.getLogger('sohes')
_NUMBER = re.compile(r'(?:iter|epoch)_(\d+)\.pth')


def last_checkpoint(work_dir: str | Path) -> Path | None:
    """The checkpoint that a run in this folder continues from.

    That is the one that ``last_checkpoint`` names; where it is cut off or not
    there, as after a power cut or on a full disk, the newest whole one. Which
    and why is said.

    Args:
        work_dir: of the run, which may have been moved.

    Returns:
        Path: None: there is no checkpoint yet.

    Raises:
        UsageError: there are checkpoints, and none is whole.
    """
    folder, note = Path(work_dir), Path(work_dir, 'last_checkpoint')
    found = [path for path in folder.glob('*.pth') if path.is_file()
             and _NUMBER.fullmatch(path.name)]
    found.sort(key=lambda path: int(_NUMBER.fullmatch(path.name)[1]),
               reverse=True)
    name, problems = '', []
    if note.is_file():
        # Written on another machine, or cut off, it may hold anything.
        text = note.read_text('utf-8', 'replace').strip().strip('\0')
        name = Path(text).name
        if not name:
            problems.append(f'{note} is empty')
        elif not (folder / name).is_file():
            problems.append(f'{folder / name}, which {note} names, is not '
                            'there')
    if name and (folder / name).is_file():
        found = [folder / name, *(p for p in found if p.name != name)]
    for path in found:
        if is_whole(path):
            if problems:
                _LOG.warning('%s; going on from %s', '; '.join(problems), path)
            return path
        problems.append(f'{path} is cut off or damaged')
    if found:
        raise UsageError(
            f'{"; ".join(problems[:5])}: no checkpoint to go on from. Name '
            'another one after --resume, or remove these to start anew')
    return None


def is_whole(path: Path) -> bool:
    """Whether a checkpoint is as long as it was, and its sums are right."""
    try:
        with zipfile.ZipFile(path) as file:
            return file.testzip() is None
    except (OSError, zipfile.BadZipFile, EOFError, NotImplementedError,
            ValueError):
        return False
