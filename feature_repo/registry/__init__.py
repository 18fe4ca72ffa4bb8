"""What is defined and served: the Feast store, its registry, the plan of a change, materialisation."""
