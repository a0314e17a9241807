"""A web server that a test starts in its own process leaves the logs alone."""
import pytest


@pytest.fixture(autouse=True)
def log_files_stay_open(monkeypatch):
    """uvicorn's logging.config.dictConfig closes the files of all loggers.

    mmengine keeps its logger for a whole process, and would go on writing
    into a closed file in tests that have nothing to do with a server.
    """
    monkeypatch.setattr('logging.config.dictConfig', lambda config: None)
