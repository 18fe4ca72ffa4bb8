"""Clicks and items into the lake: from files, Kafka, the score log."""
