"""The lowest layer: settings, names and schemas, wire types, the session fold. Knows nothing of Spark, Kafka,
Feast or Dagster.
"""
