"""mmdet's head, decoded layer by layer and on small grids."""
import functools
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from mmcv.ops import point_sample
from mmdet.models.dense_heads import Mask2FormerHead
from mmdet.structures import SampleList
from torch import Tensor, nn

from sohes.models.dense_heads.grid_queries import GridQueries
from sohes.models.dense_heads.mask_piloting import PilotedQueries
from sohes.models.dense_heads.masked_attention import outside_masks


class DecodingMask2FormerHead(Mask2FormerHead):
    """What the layers of the decoder predict of an image.

    :class:`EntityMask2FormerHead` sets the attributes and the parts.
    """

    loss_ancestor: nn.Module | None
    loss_iou: nn.Module | None
    grid_queries: GridQueries | None
    pilot_query_feat: nn.Embedding
    _points: Tensor | None
    _pilots: PilotedQueries | None

    def forward(
        self,
        x: list[Tensor],
        batch_data_samples: SampleList | None = None
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Runs pixel decoder and transformer decoder.

        As mmdet's, but what only says where the next layer may look is
        computed on the small grid that it is needed on: interpolation is
        linear, so the mask features shrink in place of each mask.

        Args:
            x: Feature maps, largest first, each (B, C, h, w).
            batch_data_samples: Not needed.

        Returns:
            Class logits (B, Q, 2), mask logits (B, Q, h, w) ((B, Q, P)
            while a loss is computed at shared points) and ancestor
            logits (B, Q, Q), before the first and after each decoder
            layer. Without an ancestor head the last are (B, Q, 0). With
            ``loss_iou`` the last layer's class logits are (B, Q, 3), the
            third that of the IoU. :class:`PilotedQueries` keeps what its
            own queries predict.
        """
        layers = list(self._decoded(x, every_layer=True))
        return tuple(map(list, zip(*layers)))

    def _decoded(
            self, x: Sequence[Tensor],
            every_layer: bool) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Class, mask and ancestor logits; of the last layer or of all."""
        features, memories = self.pixel_decoder(x)
        levels = [
            self._level(number, memories[number])
            for number in range(self.num_transformer_feat_level)
        ]
        at_points = None if self._points is None else point_sample(
            features.float(), self._points)

        @functools.cache
        def on_grid(size: torch.Size) -> Tensor:
            """What the mask features show on the grid of a level."""
            return F.interpolate(
                features.detach(), size, mode='bilinear', align_corners=False)

        queries, positions = self._first_queries(memories[0])
        first = queries.shape[1]
        pilots, unseen = self._pilots, None
        if pilots is not None:
            queries, positions = pilots.join(queries, positions,
                                             self.pilot_query_feat.weight)
            unseen = pilots.unseen(first)
        last = self.num_transformer_decoder_layers
        for number in range(last + 1):
            decoded = self.transformer_decoder.post_norm(queries)
            embed = self.mask_embed(decoded)
            level = number % self.num_transformer_feat_level
            memory = memories[level]
            if number < last or self.loss_iou is not None:
                # The masks as the next layer and the IoU head see them.
                coarse = torch.einsum('bqc,bchw->bqhw',
                                      embed[:, :first].detach(),
                                      on_grid(memory.shape[-2:]))
            if every_layer or number == last:
                masks = torch.einsum(
                    'bqc,bchw->bqhw', embed, features
                ) if at_points is None else torch.einsum(
                    'bqc,bcp->bqp', embed, at_points)
                classes = self.cls_embed(decoded)
                if pilots is not None and number:
                    pilots.predicted.append(
                        (classes[:, first:], masks[:, first:]))
                decoded, classes, masks = (
                    each[:, :first] for each in (decoded, classes, masks))
                if number == last and self.loss_iou is not None:
                    classes = torch.cat([
                        classes, self.iou_head(decoded.detach(), coarse,
                                               memory.detach())
                    ], -1)
                yield (classes, masks,
                       decoded.new_zeros(*decoded.shape[:2], 0)
                       if self.loss_ancestor is None else
                       self.ancestor_head(decoded))
            if number == last:
                return
            outside = outside_masks(coarse)
            if pilots is not None:
                outside = torch.cat(
                    [outside, pilots.outside(memory.shape[-2:])], 1)
            memory, places = levels[level]
            queries = self.transformer_decoder.layers[number](
                query=queries,
                key=memory,
                value=memory,
                query_pos=positions,
                key_pos=places,
                self_attn_mask=unseen,
                cross_attn_mask=outside,
                query_key_padding_mask=None,
                key_padding_mask=None)

    def _first_queries(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Content and position before the first layer: (B, Q, C) each."""
        if self.grid_queries is not None:
            return self.grid_queries(memory)
        return (self.query_feat.weight.expand(len(memory), -1, -1),
                self.query_embed.weight.expand(len(memory), -1, -1))

    def _level(self, number: int, memory: Tensor) -> tuple[Tensor, Tensor]:
        """What the decoder reads of one map, and where: (B, h * w, C)."""
        mask = memory.new_zeros(
            (len(memory), *memory.shape[-2:]), dtype=torch.bool)
        projected = self.decoder_input_projs[number](memory)
        return (projected.flatten(2).transpose(1, 2) +
                self.level_embed.weight[number],
                self.decoder_positional_encoding(mask).flatten(2).transpose(
                    1, 2))

    def predict(
            self, x: tuple[Tensor, ...], batch_data_samples: SampleList
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What the last decoder layer says.

        The masks stay as small as they are: the fusion head enlarges those
        that it keeps, a few at a time.

        Args:
            x: Feature maps, largest first, each (B, C, h, w).
            batch_data_samples: Not needed.

        Returns:
            Class logits (B, Q, 2), mask logits (B, Q, h, w) and ancestor
            logits (B, Q, Q). With ``loss_iou`` the softmax of the former is
            the class probability times the expected IoU.
        """
        classes, masks, ancestors = next(self._decoded(x, every_layer=False))
        if self.loss_iou is not None:
            entity = classes[..., :2].float().softmax(-1)[..., 0]
            score = entity * classes[..., 2].float().sigmoid()
            classes = torch.stack([score, 1 - score], -1).log()
        return classes, masks, ancestors
