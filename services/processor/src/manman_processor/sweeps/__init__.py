"""What events may miss, found by looking: one module per definition of "overdue"."""
