"""The forest of an image, drawn."""
from sohes.visualization.forest_picture import draw_forest
from sohes.visualization.save import picture_path, save_forest_picture

__all__ = ['draw_forest', 'picture_path', 'save_forest_picture']
