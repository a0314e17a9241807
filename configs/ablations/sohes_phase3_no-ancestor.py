"""Phase 3 without the ancestor head (appendix D).

    tools/dist_train.sh configs/ablations/sohes_phase3_no-ancestor.py 8 \
        --cfg-options load_from=PHASE2.pth data_root=DIR/

PHASE2.pth is of configs/ablations/sohes_phase2_no-ancestor.py.

Hardware: as configs/sohes_phase3.py. The paper's result: 33.0 AR on SA-1B,
33.3 with the head; not measured here.
"""
_base_ = '../sohes_phase3.py'

model = dict(
    detector=dict(
        panoptic_head=dict(loss_ancestor=None),
        test_cfg=dict(coverage=0.9)))  # theta_cover (appendix A)
