"""A ViT so small that a tool's test takes a second an image."""
import sys
from pathlib import Path

import torch


def save_tiny_vit(path: Path, width: int = 64) -> Path:
    """Random weights of a ViT of 2 blocks, patch 16."""
    generator = torch.Generator().manual_seed(0)

    def tensor(*shape: int) -> torch.Tensor:
        return 0.3 * torch.randn(*shape, generator=generator)

    grid = 4
    state = {
        'cls_token': tensor(1, 1, width),
        'pos_embed': tensor(1, 1 + grid * grid, width),
        'patch_embed.proj.weight': tensor(width, 3, 16, 16),
        'patch_embed.proj.bias': tensor(width),
        'norm.weight': torch.ones(width),
        'norm.bias': torch.zeros(width),
    }
    for block in range(2):
        prefix = f'blocks.{block}.'
        for norm in ('norm1', 'norm2'):
            state[f'{prefix}{norm}.weight'] = torch.ones(width)
            state[f'{prefix}{norm}.bias'] = torch.zeros(width)
        for name, rows, columns in (('attn.qkv', 3 * width, width),
                                    ('attn.proj', width, width),
                                    ('mlp.fc1', 4 * width, width),
                                    ('mlp.fc2', width, 4 * width)):
            state[f'{prefix}{name}.weight'] = tensor(rows, columns)
            state[f'{prefix}{name}.bias'] = tensor(rows)
    torch.save(state, path)
    return path


if __name__ == '__main__':
    save_tiny_vit(Path(sys.argv[1]))
