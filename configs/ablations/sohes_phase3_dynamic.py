"""Table 3, row 3: Phase 3 with the dynamic threshold of equation 3.

    tools/dist_train.sh configs/ablations/sohes_phase3_dynamic.py 8 \
        --cfg-options load_from=PHASE2.pth data_root=DIR/ randomness.seed=0

It is configs/sohes_phase3.py under the table's name. With the same seed its
three rows see the same I1 in the same order, augmented in the same way.

Hardware: as configs/sohes_phase3.py. The paper's result: AP 12.9, AR_S 8.6,
AR_M 35.2, AR_L 42.0, AR 33.3; not measured here.
"""
_base_ = '../sohes_phase3.py'
