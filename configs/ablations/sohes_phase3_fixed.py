"""Table 3, row 2: Phase 3 with one threshold for masks of all sizes.

    tools/dist_train.sh configs/ablations/sohes_phase3_fixed.py 8 \
        --cfg-options load_from=PHASE2.pth data_root=DIR/ randomness.seed=0

Hardware: as configs/sohes_phase3.py. The paper's result: AP 10.9, AR_S 6.3,
AR_M 32.5, AR_L 45.3, AR 32.5; not measured here. The paper does not say
which threshold it had.
"""
_base_ = '../sohes_phase3.py'

model = dict(semi_train_cfg=dict(score_thr=0.5))  # ours: the middle
