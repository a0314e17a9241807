"""Phase 1, self-exploration: pseudo-labels for a folder of photos.

The paper's values (section 3.1, appendices A and D). Command:

    python tools/generate_pseudo_labels.py configs/sohes_phase1.py \
        --img-dir PHOTOS --out labels.json

on N processes: tools/dist_generate.sh configs/sohes_phase1.py N --img-dir ...
Hardware: one GPU, or a CPU and patience (16 384 patches an image); for CPUs
and small photos take configs/sohes_phase1_cpu.py.
Result: a COCO json, one class 'entity', with parents. The paper counts 101
masks an image on SA-1B with these settings; not verified here.
"""
default_scope = 'sohes'

# ----- frequently changed ---------------------------------------------------
# A name (dino_vits8, dino_vitb8, dino_vits16, dino_vitb16, dinov2_vits14, ...)
# or a file (.pth, .safetensors, .onnx). Depth, width and patch size are read
# from the weights.
extractor = dict(
    weights='dino_vitb8',
    # None: the preset of the weights' family (DINO: keys of the last block,
    # not centred, thresholds 0.6 ... 0.1).
    feature=None,  # 'key', 'query', 'value' or 'token'
    block=None,  # 1 is the first, -1 the last
    center=None,  # subtract the image's mean feature
    debias=False,  # ours: project out what tells a patch's place alone
    dtype='fp32',  # or 'bf16', 'fp16', 'auto'
    device=None)  # None: CUDA if there is one

pseudo_labels = dict(
    # ----- possibly changed -------------------------------------------------
    image_size=1024,  # S (appendix A)
    thresholds=None,  # None: the preset's; see calibrate_thresholds.py
    max_masks=199,  # "under 200" (appendix D)
    local=dict(  # step 2; None leaves it out
        max_area=1 / 1024,  # theta_small (appendix D); >= 1: in pixels
        image_size=256,  # S' (appendix A)
        crop_scale=2.0,  # ours: the paper is silent
        min_crop=32,  # ours
        max_zoom_out=1.5,  # ours
        max_crops=None,  # ours: no limit
        windows=None,  # ours: so many a side in place of crops
        batch_size=32),
    refiner=dict(type='cascadepsp'),  # step 3: densecrf, localcrf, none
    # ----- never changed ----------------------------------------------------
    nms_iou=0.9,  # ours
    min_patches=4,  # ours
    refine_min_iou=0.5,  # ours: the paper says "poor"
    coverage=0.9)  # theta_cover (appendix A)

shard_size = 8  # images lost at most by a kill, a worker
workers = None  # processes for steps 3 and 4; None: one a core
