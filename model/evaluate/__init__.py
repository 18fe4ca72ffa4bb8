"""The judge: ranks, metrics, slices, calibration, choice on validation data."""
