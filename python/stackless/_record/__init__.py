"""Behind `stackless.record`: making recordings, saving them, and the page that shows them."""
