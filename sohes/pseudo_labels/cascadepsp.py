"""Step 3 with CascadePSP (Cheng et al., CVPR 2020), the paper's choice."""


class CascadePSPRefiner:
    """Placeholder that the next commit replaces."""
