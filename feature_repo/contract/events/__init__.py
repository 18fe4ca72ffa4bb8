"""Types of events: what each counts for, and how a log's are counted."""
