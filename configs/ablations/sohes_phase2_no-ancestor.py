"""Phase 2 without the ancestor head (appendix D).

    tools/dist_train.sh configs/ablations/sohes_phase2_no-ancestor.py 8 \
        --cfg-options data_root=DIR/

Masks alone are learnt. A prediction's forest is then found from its masks by
coverage, as Phase 1 finds it, so ForestMetric tells what the head is worth.

Hardware: as configs/sohes_phase2.py. The paper's result: 33.0 AR on SA-1B
without, 33.3 with the head (after Phase 3); not measured here.
"""
_base_ = '../sohes_phase2.py'

model = dict(
    panoptic_head=dict(loss_ancestor=None),
    panoptic_fusion_head=dict(type='sohes.EntityFusionHead'),
    test_cfg=dict(coverage=0.9))  # theta_cover (appendix A)
