"""The network: backbones, fusion, losses, batches, averaging, checkpoints, its scores."""
