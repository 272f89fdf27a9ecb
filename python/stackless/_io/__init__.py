"""Behind `stackless.socket`, `ssl` and `monkey`: methods, files and locks that wait in tasklets."""
