"""Intents of sessions: prompts, sources, cache keys, budget, grounding and the student. Knows nothing of
Spark or Kafka.
"""
