"""Hugging Face's ViTs with registers, in a process of its own.

    python hugging_face_reference.py dinov3 swiglu images.npz out.pth

mmpretrain turns on models that do not import where it sees transformers, so
that package lies in a folder which only this process has on its path.
"""
import sys

import numpy as np
import torch
import transformers

from tests.test_weights.vit_reference import randomised

WIDTH, DEPTH, INNER, GRID = 128, 3, 168, 6


def build(family: str, swiglu: bool) -> torch.nn.Module:
    """A small model of random weights, none of them zero or one."""
    shape = dict(
        hidden_size=WIDTH,
        num_hidden_layers=DEPTH,
        num_attention_heads=WIDTH // 64,
        num_register_tokens=4)
    if family == 'dinov2':
        model = transformers.Dinov2WithRegistersModel(
            transformers.Dinov2WithRegistersConfig(
                image_size=GRID * 14, patch_size=14, use_swiglu_ffn=swiglu,
                **shape))
    else:
        model = transformers.DINOv3ViTModel(
            transformers.DINOv3ViTConfig(
                image_size=GRID * 16, patch_size=16, intermediate_size=INNER,
                use_gated_mlp=swiglu,
                # as in the published configurations of SwiGLU ViTs
                hidden_act='silu' if swiglu else 'gelu', **shape))
    return randomised(model)


def main(family: str, swiglu: str, images: str, out: str) -> None:
    """Save the weights and the tokens after block 2 of every image."""
    model = build(family, swiglu == 'swiglu')
    tokens = []
    with np.load(images) as batch, torch.no_grad():
        for name in sorted(batch.files):
            states = model(
                torch.from_numpy(batch[name]),
                output_hidden_states=True).hidden_states
            tokens.append(states[2][:, 5:])
    torch.save(dict(state=model.state_dict(), tokens=tokens), out)


if __name__ == '__main__':
    main(*sys.argv[1:])
