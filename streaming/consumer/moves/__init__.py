"""When the topic of clicks gets more partitions: states and answers move to where the keys now are."""
