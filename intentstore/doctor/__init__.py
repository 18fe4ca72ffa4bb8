"""`intentstore doctor`: one line for each thing that a run needs, with its remedy. Changes nothing."""
