"""Compiled loops over flat arrays: everything between a prefix and its answer. Knows no file, no torch and no
name of an item.

Rules of every kernel here: sessions are worked on one by one in the same order of operations, so a batch
equals its sessions one by one bit for bit and no thread count matters; arrays come with the types that the
docstring names (`model.kernels.compiled.flat`), so each kernel is compiled once; a new source of the mix is
new tables for a kernel that is here already.
"""
