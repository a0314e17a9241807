"""What a training run wrote down of itself."""
import json
from pathlib import Path
from typing import Any


def read_scalars(work_dir: Path, key: str) -> list[dict[str, Any]]:
    """The lines of a run's ``scalars.json`` that have a key, by their step.

    Args:
        work_dir: of ``tools/train.py``; every start of the run has a folder
            in it. Of steps that were logged twice, before and after a kill,
            the later counts, and a line that a kill cut off does not.
        key: such as ``loss``; lines of a validation have other keys than
            those of training.
    """
    lines: dict[int, dict[str, Any]] = {}
    for path in sorted(work_dir.glob('*/vis_data/scalars.json')):
        for text in path.read_text(encoding='utf-8').splitlines():
            try:
                line = json.loads(text)
            except ValueError:
                continue
            if key in line:
                lines[line['step']] = line
    return [lines[step] for step in sorted(lines)]
