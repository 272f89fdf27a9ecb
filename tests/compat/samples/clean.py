# Nothing to report.
import stackless

channel = stackless.channel()
t = stackless.tasklet(channel.send)(1)
print(channel.receive(), t.alive, t.next, channel.balance, stackless.getruncount())
stackless.run()
