"""The command `run`: a program that was written for threads, on tasklets."""
