"""One process that looks at photos of strangers, and can be ended."""
import multiprocessing
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from sohes.apis.photo_entities import Finder
from sohes.pseudo_labels.images import find_formats, load_image
from sohes.structures import Entities
from sohes.utils.errors import ImageError, UsageError


class PhotoWorker:
    """Finds entities in photos, in a process beside this one.

    A photo that takes too long, or ends the process, costs only itself: the
    next one gets a new process. Photos come one after the other; who calls
    meanwhile waits.

    Args:
        build: makes what finds entities; called in that process, so it must
            be a function of a module, or a partial of one.
        seconds: for one photo; then it is given up.
        max_pixels: of one photo.
        start_seconds: for ``build``.

    Raises:
        UsageError: ``build`` does, or takes too long.
    """

    def __init__(self, build: Callable[[], Finder], seconds: float = 300,
                 max_pixels: int | None = None,
                 start_seconds: float = 600) -> None:
        self._build = build
        self._seconds = seconds
        self._max_pixels = max_pixels
        self._start_seconds = start_seconds
        self._lock = threading.Lock()
        self._process: Any = None
        self._pipe: Connection | None = None
        with self._lock:
            self._start()

    def __call__(self, path: str) -> tuple[np.ndarray, Entities]:
        """Look at one photo.

        Args:
            path: its file.

        Returns:
            (H, W, 3) uint8 RGB, and what was found.

        Raises:
            ImageError: it cannot be read, takes too long, or ended the
                process.
        """
        with self._lock:
            if self._process is None or not self._process.is_alive():
                self._start()
            try:
                # Gradio's own kind of str would be imported over there.
                self._pipe.send(str(path))
                kind, answer = self._answer(self._seconds)
            except TimeoutError as error:
                self.close()
                raise ImageError(
                    f'this photo took more than {self._seconds:g} seconds '
                    'and was given up') from error
            except (EOFError, OSError) as error:
                self.close()
                raise ImageError('this photo ended the program that looked '
                                 'at it; the next one gets a new one'
                                 ) from error
        if kind == 'error':
            raise ImageError(answer)
        return answer

    def close(self) -> None:
        """End the process."""
        process, pipe = self._process, self._pipe
        self._process = self._pipe = None
        if process is not None:
            process.kill()
            process.join()
        if pipe is not None:
            pipe.close()

    def _start(self) -> None:
        # Not a fork: this process has the threads of a web server.
        context = multiprocessing.get_context('spawn')
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_work, args=(theirs, self._build, self._max_pixels),
            daemon=True)
        self._process.start()
        theirs.close()
        try:
            kind, answer = self._answer(self._start_seconds)
        except (EOFError, OSError, TimeoutError) as error:
            self.close()
            raise UsageError('the process that looks at photos did not start'
                             ) from error
        if kind == 'error':
            self.close()
            raise UsageError(answer)

    def _answer(self, seconds: float) -> Any:
        if not self._pipe.poll(seconds):
            raise TimeoutError
        return self._pipe.recv()


def _work(pipe: Connection, build: Callable[[], Finder],
          max_pixels: int | None) -> None:
    """Answer photos until the pipe ends."""
    try:
        finder = build()
        # Not on the first photo's time.
        find_formats()
    except UsageError as error:
        pipe.send(('error', str(error)))
        return
    pipe.send(('ready', None))
    while True:
        try:
            path = pipe.recv()
        except (EOFError, KeyboardInterrupt):
            return
        try:
            image = load_image(path, max_pixels)
            pipe.send(('found', (image, finder(image))))
        except ImageError as error:
            pipe.send(('error', str(error)))
        except Exception as error:  # a person waits for a sentence
            text = ' '.join(str(error).split())
            pipe.send(('error', 'this photo cannot be looked at: '
                       f'{type(error).__name__}: {text:.200}'))
