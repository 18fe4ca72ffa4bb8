"""The session model: backbones, intents, fusion, training, evaluation and scoring. Knows nothing of Spark,
Kafka, Feast or Dagster.
"""
