"""Changes of the catalogue by HTTP: checked by the contract of the items topic, and sent there."""
