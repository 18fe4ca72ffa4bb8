"""Rankers without a network: counts, neighbours, closed forms and titles. Each has a file of its own that
names its paper.
"""
