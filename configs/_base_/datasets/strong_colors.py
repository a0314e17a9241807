"""The strong augmentation of Phase 3 (section 3.3), but for its geometry."""
# Ours, after Grill et al. 2020: the paper says strong and weak, no more.
# torchvision's, because these know that the image is RGB.
colors = [
    dict(type='mmpretrain.NumpyToPIL', to_rgb=False),
    dict(
        type='RandomApply',
        prob=0.8,
        transforms=[
            dict(
                type='mmpretrain.torchvision/ColorJitter',
                brightness=0.4,
                contrast=0.4,
                saturation=0.4,
                hue=0.1)
        ]),
    dict(type='mmpretrain.torchvision/RandomGrayscale', p=0.2),
    dict(
        type='RandomApply',
        prob=0.5,
        transforms=[
            dict(
                type='mmpretrain.torchvision/GaussianBlur',
                kernel_size=13,
                sigma=(0.1, 2.0))
        ]),
    dict(type='mmpretrain.torchvision/RandomSolarize', threshold=128, p=0.2),
    dict(type='mmpretrain.PILToNumpy', to_bgr=False)
]
