"""The forest of an image, drawn."""
from sohes.visualization.forest_picture import draw_forest

__all__ = ['draw_forest']
