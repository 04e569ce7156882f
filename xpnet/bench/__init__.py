"""What a machine reaches: the server under load, and the log of a Jetson."""
