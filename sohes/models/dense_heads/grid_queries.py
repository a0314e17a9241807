"""Queries that start from what the image shows at places of regular grids."""
from collections.abc import Sequence

import torch
from mmcv.ops import point_sample
from mmdet.models.layers import (
    SinePositionalEncoding,
    coordinate_to_encoding,
)
from torch import Tensor, nn


class GridQueries(nn.Module):
    """One query a cell, of several grids over the whole image.

    A query's content is a projection of the memory at the centre of its
    cell, plus a learnt embedding of its grid, which tells the model whether
    to look for something small or large there. Its position is the encoding
    of that centre, as that of the memory's own places. As FastInst (He et
    al. 2023) starts its queries from pixels, but at fixed ones: nothing has
    to be scored and chosen, and every query keeps its place in all images.
    No weight belongs to a single query, so each label trains all of them.
    The memory gets the queries' gradient, which two-stage detectors such as
    Mask DINO stop, because theirs has a loss of its own.

    Args:
        grids: Cells a side of each grid: 14 stands for 14 x 14 queries.
        num_queries: Q, what the squares of ``grids`` must add up to.
        in_channels: C', of the memory.
        encoding: Of the memory's places; 2 * ``num_feats`` is C.

    Raises:
        ValueError: The grids do not give Q queries, or the encoding is not
            normalised by the size of the memory.
    """

    def __init__(self, grids: Sequence[int], num_queries: int,
                 in_channels: int, encoding: SinePositionalEncoding) -> None:
        super().__init__()
        if (not isinstance(grids, Sequence)
                or not all(isinstance(side, int) and side > 0
                           for side in grids)
                or sum(side**2 for side in grids) != num_queries):
            raise ValueError(
                'query_grids must be a list of cells a side whose squares '
                f'add up to num_queries, {num_queries}, got {grids}')
        if not encoding.normalize:
            raise ValueError('query_grids needs a positional_encoding with '
                             'normalize=True')
        self.encoding = encoding  # which has no weights
        channels = 2 * encoding.num_feats
        self.project = nn.Linear(in_channels, channels)
        # The name of mmdet's, which optimizers know: no weight decay.
        self.query_feat = nn.Embedding(len(grids), channels)
        self.register_buffer(
            'points', torch.cat([_centres(side) for side in grids]),
            persistent=False)
        self.register_buffer(
            'grid_of', torch.cat([
                torch.full((side**2, ), number)
                for number, side in enumerate(grids)
            ]), persistent=False)

    def forward(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """What the queries are before the first decoder layer.

        Args:
            memory: (B, C', h, w), the first level.

        Returns:
            Content and position, both (B, Q, C), grid by grid and each row
            by row.
        """
        points = self.points.expand(len(memory), -1, -1)
        # Beyond the centres of the outermost cells their values go on.
        seen = point_sample(memory.float(), points, padding_mode='border')
        content = self.project(seen.transpose(1, 2)) + self.query_feat(
            self.grid_of)
        encoding = self.encoding
        # mmdet encodes the lower right corner of a cell for its centre.
        half_cell = (0.5 + encoding.offset) / points.new_tensor(
            [memory.shape[-1], memory.shape[-2]])
        return content, coordinate_to_encoding(
            points + half_cell, encoding.num_feats, encoding.temperature,
            encoding.scale)


def _centres(side: int) -> Tensor:
    """(side * side, 2) float32, the cells' (x, y) in [0, 1], row by row."""
    middle = (torch.arange(side) + 0.5) / side
    x, y = torch.meshgrid(middle, middle, indexing='xy')
    return torch.stack([x, y], -1).flatten(0, 1)
