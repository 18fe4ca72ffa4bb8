"""The live half: embedded services, the consumer, the HTTP side."""
