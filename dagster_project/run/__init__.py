"""Steps that run in one JVM: the parent's side, the child's side, what they remember, what is observed."""
