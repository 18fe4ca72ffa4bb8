"""The live catalogue: what a record of the items topic says, and what all of them say together."""
