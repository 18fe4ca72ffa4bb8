"""The whole model: training, the folder it is kept in, scoring with reasons."""
