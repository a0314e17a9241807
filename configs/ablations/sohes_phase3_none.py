"""Table 3, row 1: Phase 2 continued for as many steps, without a teacher.

    tools/dist_train.sh configs/ablations/sohes_phase3_none.py 8 \
        --cfg-options load_from=PHASE2.pth data_root=DIR/ randomness.seed=0

The student learns from the initial pseudo-labels alone, at the same rate and
for as many steps as in the other rows; so these differ in the teacher's
labels, not in the length of training. Evaluated is the moving average, as
there. Row 1 of the paper's table is Phase 2 as it was.

Hardware: as configs/sohes_phase3.py, half the time a step. The paper's
result: AP 12.8, AR_S 8.0, AR_M 33.7, AR_L 43.0, AR 32.6; not measured here.
"""
_base_ = '../sohes_phase3.py'

model = dict(semi_train_cfg=dict(unsup_weight=0.0))
