"""Phase 2 on the trees' closure in place of the pairwise relation.

    tools/dist_train.sh configs/ablations/sohes_phase2_closure.py 8 \
        --cfg-options data_root=DIR/

The paper tests every pair of masks for who is an ancestor (section 3.1, step
4), and configs/sohes_phase2.py learns those pairs. Here a mask's ancestors
are all masks above it in its tree. The two differ because coverage is not
transitive; tools/analysis_tools/ancestor_pairs.py counts by how much. Phase 3
has the same key in model.semi_train_cfg.

Hardware: as configs/sohes_phase2.py. Result: not measured.
"""
_base_ = '../sohes_phase2.py'

train_dataloader = dict(dataset=dict(ancestors='closure'))
