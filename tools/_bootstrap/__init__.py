"""The parts of tools/bootstrap.py; nothing but the standard library."""
