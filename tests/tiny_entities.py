"""Photos of rectangles within rectangles, their labels, and a small model."""
import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from PIL import Image
from pycocotools import mask as coco_mask

from sohes.models.backbones.timm_vit import arch_named

ROOT = Path(__file__).resolve().parents[1]


def make_entities(folder: Path, images: int = 6) -> Path:
    """Write images/ and labels.json, and the same as val/ and val.json.

    Each image has four masks: 0 holds 1, 1 holds 2, and 3 is apart.

    Returns:
        Path: the folder, for ``data_root``.
    """
    (folder / 'images').mkdir(parents=True)
    rows, annotations = [], []
    for number in range(images):
        rng = np.random.default_rng(number)
        height, width = 60 + 4 * number, 80
        pixels = np.full((height, width, 3), rng.integers(0, 99, 3),
                         np.uint8)
        half, third = height // 2, height // 3
        boxes = [(2, 2, 60, half), (4, 4, 40, third + 4), (6, 6, 20, third),
                 (5, half + 4, 70, height - 2)]
        for i, (left, top, right, bottom) in enumerate(boxes):
            pixels[top:bottom, left:right] = rng.integers(99, 255, 3)
            mask = np.zeros((height, width), np.uint8, order='F')
            mask[top:bottom, left:right] = 1
            rle = coco_mask.encode(mask)
            parent = None if i in (0, 3) else 4 * number + i
            annotations.append(
                dict(id=4 * number + i + 1, image_id=number + 1,
                     category_id=1, iscrowd=0, area=int(mask.sum()),
                     bbox=[left, top, right - left, bottom - top],
                     parent_id=parent, score=1 - i / 10,
                     segmentation=dict(size=[height, width],
                                       counts=rle['counts'].decode())))
        Image.fromarray(pixels).save(folder / 'images' / f'{number}.png')
        rows.append(dict(id=number + 1, file_name=f'{number}.png',
                         height=height, width=width))
    text = json.dumps(
        dict(images=rows, annotations=annotations,
             categories=[dict(id=1, name='entity')]))
    (folder / 'labels.json').write_text(text)
    (folder / 'val.json').write_text(text)
    (folder / 'val').symlink_to('images')
    return folder


def shrunk(config: Config, image_size: int = 64, width: int = 16) -> Config:
    """The same types as a configuration's, at sizes for a test.

    Args:
        config: of Phase 2 or 3; changed in place.
        image_size: pixels, square.
        width: channels of ViT, adapter and head.
    """
    root, model = 'model.', config.model
    if 'detector' in model:
        root, model = 'model.detector.', model.detector
    weights = str(model.backbone.weights)
    patch = 8 if '8' in weights else 16
    arch = dict(embed_dims=width, num_layers=4, num_heads=2,
                feedforward_channels=2 * width)
    vit = dict(arch=arch, patch_size=patch, img_size=4 * patch)
    if weights.startswith('dinov3'):
        vit = dict(
            type='sohes.TimmViT',
            arch=dict(arch_named('dinov3', 's'), **arch))
    options: dict[str, Any] = {
        f'{root}backbone.weights': None,
        f'{root}backbone.vit': vit,
        f'{root}backbone.prior_width': 8,
        f'{root}backbone.norm_cfg': dict(type='LN2d'),
        f'{root}backbone.drop_path_rate': 0.0,
        f'{root}panoptic_head.in_channels': [width] * 4,
        f'{root}panoptic_head.num_queries': 8,
        f'{root}panoptic_head.feat_channels': width,
        f'{root}panoptic_head.out_channels': width,
        f'{root}panoptic_head.positional_encoding.num_feats': width // 2,
        f'{root}panoptic_head.transformer_decoder.num_layers': 2,
        f'{root}train_cfg.num_points': 64,
        'train_dataloader.batch_size': 2,
        'train_dataloader.num_workers': 0,
        'train_dataloader.persistent_workers': False,
        'test_dataloader.num_workers': 0,
        'test_dataloader.persistent_workers': False,
    }
    pixel = f'{root}panoptic_head.pixel_decoder.'
    options |= {
        f'{pixel}norm_cfg.num_groups': 4,
        f'{pixel}positional_encoding.num_feats': width // 2,
        f'{pixel}encoder.num_layers': 1,
    }
    encoder = f'{pixel}encoder.layer_cfg.'
    decoder = f'{root}panoptic_head.transformer_decoder.layer_cfg.'
    for part in (f'{encoder}self_attn_cfg', f'{decoder}self_attn_cfg',
                 f'{decoder}cross_attn_cfg'):
        options |= {f'{part}.embed_dims': width, f'{part}.num_heads': 2}
    for part in (f'{encoder}ffn_cfg', f'{decoder}ffn_cfg'):
        options |= {f'{part}.embed_dims': width,
                    f'{part}.feedforward_channels': 2 * width}
    config.merge_from_dict(options)
    _set_sizes(config._cfg_dict, (image_size, image_size))
    # Mixed precision and SyncBN are for GPUs.
    config.optim_wrapper.type = 'OptimWrapper'
    for key in ('dtype', 'loss_scale'):
        config.optim_wrapper.pop(key, None)
    return config


def save_tiny_model(folder: Path, name: str) -> tuple[Path, Path]:
    """Write a configuration and a checkpoint of a model never trained.

    It is made so sure of itself that it predicts something.

    Args:
        folder: that is there.
        name: of both files, without .py and .pth.
    """
    config = shrunk(Config.fromfile(
        ROOT / 'configs/tiny/sohes_phase2_tiny.py'))
    config.dump(folder / f'{name}.py')
    init_default_scope('mmdet')
    torch.manual_seed(0)
    model = MODELS.build(config.model)
    model.panoptic_head.cls_embed.bias.data[:] = torch.tensor([3., 0.])
    torch.save(
        dict(state_dict=model.state_dict(),
             meta=dict(cfg=config.pretty_text)), folder / f'{name}.pth')
    return folder / f'{name}.py', folder / f'{name}.pth'


def step_key(config: Config) -> str:
    """All of a configuration that a step at the size of a test depends on.

    Rates, lengths and intervals are left out: those have tests of their own.
    Configurations with the same key need training only once.
    """
    config = copy.deepcopy(config.to_dict())
    config['optim_wrapper']['optimizer'].pop('lr')
    config['optim_wrapper']['clip_grad'].pop('max_norm')
    for hook in config['custom_hooks']:
        hook.pop('momentum', None)
    return json.dumps([config[name] for name in (
        'model', 'train_dataloader', 'optim_wrapper', 'custom_hooks',
        'test_dataloader', 'test_evaluator')], sort_keys=True, default=str)


def _set_sizes(node: Any, size: tuple[int, int]) -> None:
    """Every size of an image in a configuration, in place."""
    items = list(node.items()) if isinstance(node, dict) else enumerate(node)
    for key, value in items:
        if key in ('scale', 'crop_size', 'size'):
            node[key] = size
        elif isinstance(value, (dict, list)):
            _set_sizes(value, size)
