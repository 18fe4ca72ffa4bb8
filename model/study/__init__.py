"""Experiments: benchmark, baselines, study, controls and their reports."""
