"""Behind `stackless.explain`: records of tasklets, their text, and asking other processes."""
