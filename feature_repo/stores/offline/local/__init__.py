"""The as-of join without a JVM: numpy and Arrow over the log of Delta tables in local folders."""
