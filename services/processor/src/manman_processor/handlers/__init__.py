"""What each kind of report changes, one module per noun."""
