"""What runs inside the sandboxes when a program is graded; it is sent there as text and uses the standard library."""
