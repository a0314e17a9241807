"""Layer-wise learning rate decay for any model with a ViT in it."""
from typing import Any

from mmengine.optim import DefaultOptimWrapperConstructor
from torch import nn

from sohes.registry import OPTIM_WRAPPER_CONSTRUCTORS


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """Earlier blocks learn slower: lr x rate ** (depths after it).

    mmpretrain's ``LearningRateDecayOptimWrapperConstructor`` asks the whole
    model for ``get_layer_depth``, which detectors do not have; this one
    looks for the backbones that have it, wherever they lie. Everything
    else, ``lr_mult`` of ``custom_keys`` too, is as in mmengine's default
    constructor. A parameter outside of any such backbone keeps its lr.

    In a config: ``optim_wrapper=dict(constructor=
    'sohes.LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(layer_decay_rate=0.8))``.

    Raises:
        ValueError: no ``layer_decay_rate`` in (0, 1], or a model without
            ``get_layer_depth`` in it.
    """

    def _validate_cfg(self) -> None:
        super()._validate_cfg()
        rate = self.paramwise_cfg.get('layer_decay_rate')
        if not isinstance(rate, (int, float)) or not 0 < rate <= 1:
            raise ValueError('paramwise_cfg: layer_decay_rate: expected a '
                             f'number in (0, 1], found {rate!r}')

    def add_params(self,
                   params: list[dict],
                   module: nn.Module,
                   prefix: str = '',
                   **kwargs: Any) -> None:
        """Add a module's parameters, then scale the whole model's lr.

        Args:
            params: groups of one parameter each, added to in place.
            module: the model or, further down, a part of it.
            prefix: the part's name and a dot, empty for the model.
            kwargs: of the default constructor.
        """
        super().add_params(params, module, prefix=prefix, **kwargs)
        if prefix:  # the default constructor calls itself for each part
            return
        scales = self._scales(module)
        for group in params:
            scale = scales.get(id(group['params'][0]))
            if scale is not None:
                group['lr'] = group.get('lr', self.base_lr) * scale

    def _scales(self, model: nn.Module) -> dict[int, float]:
        """Factor of every backbone parameter, by the parameter's id."""
        rate = self.paramwise_cfg['layer_decay_rate']
        scales: dict[int, float] = {}
        for name, module in model.named_modules():
            if not hasattr(module, 'get_layer_depth'):
                continue
            prefix = f'{name}.' if name else ''
            for key, parameter in module.named_parameters():
                depth, depths = module.get_layer_depth(prefix + key, prefix)
                # outer modules come first and know more: theirs stays
                scales.setdefault(
                    id(parameter), rate**(depths - 1 - depth))
        if not scales:
            raise ValueError(
                f'layer_decay_rate: {type(model).__name__} has no backbone '
                'with get_layer_depth, which this constructor needs')
        return scales
