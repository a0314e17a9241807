"""Heads that predict masks and who is part of whom."""
