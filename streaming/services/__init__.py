"""The embedded broker and valkey."""
