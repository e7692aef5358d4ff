"""The vocabulary: values and rules of the field, no I/O, nothing of ours imported."""
