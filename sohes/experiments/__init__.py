"""What reproduces the paper's tables: zero-shot, ablations, their pages."""
