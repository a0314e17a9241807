"""Resumable downloads into a cache that several processes share."""
import contextlib
import http.client
import os
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from sohes.utils.errors import FileError
from sohes.utils.files import sha256_of

_BLOCK = 1 << 20
_NETWORK_ERRORS = (OSError, http.client.HTTPException)


class DownloadError(FileError):
    """A file that could not be fetched; says from where and to where."""


def download(url: str,
             target: Path,
             sha256: str | None = None,
             timeout: float = 30.0,
             attempts: int = 3) -> Path:
    """Fetch a file once, whole or not at all.

    What arrives is kept in ``<target>.part`` until it is complete, and a
    later call goes on from there if the file on the server is still the
    same (HTTP Range with If-Range). The hash of a complete file is
    recorded beside it, see :func:`recorded_sha256`. Other processes that
    want the same file wait on ``<target>.lock``.

    Args:
        url: where to fetch it.
        target: where it goes; its folder is created.
        sha256: the hash it must have, 64 hex digits. None: that of an
            earlier complete download, if there was one.
        timeout: seconds without an answer before giving up.
        attempts: how often a broken transfer is taken up again.

    Returns:
        ``target``.

    Raises:
        DownloadError: no connection, no such file, not enough room, or a
            file with another hash; names URL, file and what to do.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = _beside(target, '.part')
    with FileLock(str(_beside(target, '.lock'))):
        if target.is_file():  # another process was faster
            return target
        for left in range(attempts - 1, -1, -1):
            try:
                _fetch(url, part, timeout)
                break
            except _NETWORK_ERRORS as error:
                if left and _may_recover(error):
                    continue
                raise DownloadError(
                    _cannot_fetch(url, target, part, error)) from error
        found = sha256_of(part)
        expected = sha256 or recorded_sha256(target)
        if expected is not None and found != expected:
            part.unlink()
            _beside(part, '.etag').unlink(missing_ok=True)
            raise DownloadError(
                f'{url}: expected a file with SHA-256 {expected}, found '
                f'{found}; it was not kept. If the file on the server was '
                f'replaced on purpose, delete '
                f'{_beside(target, ".sha256")} if that exists')
        _record_sha256(target, found)
        _beside(part, '.etag').unlink(missing_ok=True)
        os.replace(part, target)
    return target


def recorded_sha256(target: Path) -> str | None:
    """The hash that a file had when it was downloaded, None if unknown."""
    with contextlib.suppress(OSError):
        match = re.match(r'[0-9a-f]{64}\b',
                         _beside(target, '.sha256').read_text())
        return match and match[0]
    return None


def _record_sha256(target: Path, sha256: str) -> None:
    """Write the hash beside the file, in the format of ``sha256sum``."""
    record = _beside(target, '.sha256')
    fresh = _beside(record, '.tmp')
    fresh.write_text(f'{sha256}  {target.name}\n')
    os.replace(fresh, record)


def _fetch(url: str, part: Path, timeout: float) -> None:
    """Fetch what is missing of ``part``.

    Raises:
        OSError, HTTPException: the transfer failed; what has arrived
            stays in ``part``.
    """
    etag_file = _beside(part, '.etag')
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(
        url, headers={'User-Agent': 'sohes', 'Accept-Encoding': 'identity'})
    if have:
        request.add_header('Range', f'bytes={have}-')
        if etag_file.exists():
            request.add_header('If-Range', etag_file.read_text())
    try:
        response = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not have:
            raise
        error.close()
        # nothing is missing, or the file shrank: the size tells
        if _size_after_slash(error.headers.get('Content-Range')) == have:
            return
        part.unlink()
        return _fetch(url, part, timeout)
    with response:
        if response.headers.get_content_type() == 'text/html':
            # a proxy's or a hotel's login page, not to be kept
            raise ConnectionError('found a web page there')
        start, total = _range_of(response)
        if start != have:  # the whole file, from the beginning
            have = 0
        etag = response.headers.get('ETag')
        if etag and not etag.startswith('W/'):  # weak ones cannot resume
            etag_file.write_text(etag)
        else:
            etag_file.unlink(missing_ok=True)
        with open(part, 'r+b' if have else 'wb') as file, _progress(
                part.stem, have, total) as advance:
            file.seek(have)
            while True:
                block = response.read1(_BLOCK)  # what is there, to keep it
                if not block:
                    break
                file.write(block)
                advance(len(block))
    size = part.stat().st_size
    if total is not None and size != total:
        raise ConnectionError(f'the transfer broke off after {size} of '
                              f'{total} bytes')


def _range_of(response: http.client.HTTPResponse) -> tuple[int, int | None]:
    """Where the answer starts in the file, and the file's size."""
    if response.status == 206:
        span = response.headers.get('Content-Range', '')
        match = re.match(r'bytes (\d+)-', span)
        if not match:
            raise ConnectionError(f'the server sent the range {span!r}')
        return int(match[1]), _size_after_slash(span)
    length = response.headers.get('Content-Length')
    return 0, int(length) if length else None


def _size_after_slash(span: str | None) -> int | None:
    """The size of the file in 'bytes 5-9/10' or 'bytes */10'."""
    match = re.search(r'/(\d+)$', span or '')
    return int(match[1]) if match else None


@contextlib.contextmanager
def _progress(name: str, have: int, total: int | None) -> Iterator:
    """A bar on stderr; yields the function that moves it."""
    columns = (TextColumn('{task.description}'), BarColumn(),
               DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(f'downloading {name}', total=total,
                            completed=have)
        yield lambda count: bar.advance(task, count)


def _may_recover(error: Exception) -> bool:
    """Whether another attempt may help: a cut line, a busy server."""
    if isinstance(error, urllib.error.HTTPError):
        return error.code >= 500
    if isinstance(error, urllib.error.URLError):
        return False  # no route, no such host, no certificate
    return isinstance(error,
                      (ConnectionError, TimeoutError,
                       http.client.HTTPException))


def _cannot_fetch(url: str, target: Path, part: Path,
                  error: Exception) -> str:
    """What to tell a person without a (working) network."""
    have = part.stat().st_size if part.exists() else 0
    kept = (f' ({have / 1e6:.1f} MB have arrived and are kept; the next '
            'try goes on from there)' if have else '')
    return (f'cannot download {url}: {reason_of(error)}{kept}. '
            'Without a network, use a file of your own (--weights FILE, or '
            'the key weights), or fetch that one elsewhere and put it at '
            f'{target}')


def reason_of(error: Exception) -> str:
    """The network's own words for what went wrong."""
    if isinstance(error, urllib.error.HTTPError):
        return f'HTTP {error.code} {error.reason}'
    return str(getattr(error, 'reason', None) or error)


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)
