"""A log as people paste it: pasted.py finds the messages, a table a source file says what they mean, explain.py puts it together."""
