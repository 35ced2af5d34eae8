"""What `sentune inspect` looks for, one small function each; `checks.CHECKS` is the table."""
