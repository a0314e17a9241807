"""The forest of a photo in a browser: what the pages need from Python.

The viewer is a few files of JavaScript and CSS beside this one. The report of
a folder and the web demo show the same.
"""
from sohes.visualization.viewer.photos import (
    Photo,
    photo_frame,
    photo_page,
    photo_record,
    write_masks,
)
from sohes.visualization.viewer.report import ReportWriter

__all__ = ['Photo', 'ReportWriter', 'photo_frame', 'photo_page',
           'photo_record', 'write_masks']
