"""What the registry builds: backbones, heads, losses, detectors."""
