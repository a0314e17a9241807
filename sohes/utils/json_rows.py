"""What all readers of a COCO json agree on."""
import codecs
from typing import IO, Any


def is_crowd(row: dict[str, Any]) -> bool:
    """Whether an annotation is a crowd region, by its ``iscrowd``.

    Args:
        row: an annotation; without the key, or with null, it is none.

    Raises:
        ValueError: it is not 0, 1, false or true. Text such as "0" would
            count as true.
    """
    value = row.get('iscrowd')
    if value is None or (isinstance(value, int) and value in (0, 1)):
        return bool(value)
    raise ValueError(f'"iscrowd" must be 0 or 1, found {value!r:.60}')


def skip_bom(file: IO[bytes]) -> None:
    """Step over the mark that some editors put before UTF-8."""
    if file.read(len(codecs.BOM_UTF8)) != codecs.BOM_UTF8:
        file.seek(0)
