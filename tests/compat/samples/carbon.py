# For the Carbon engine's scheduler.
import scheduler  # -> error scheduler

queue = scheduler.channel()
scheduler.tasklet(queue.send)(1)
scheduler.run()
