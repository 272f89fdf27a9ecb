"""What `stackless.testing` is made of."""
