# What the compiled module gives the package beyond the public names, which __init__.pyi describes.
from stackless import TaskletExit as TaskletExit
from stackless import bomb as bomb
from stackless import channel as channel
from stackless import enable_softswitch as enable_softswitch
from stackless import get_channel_callback as get_channel_callback
from stackless import get_schedule_callback as get_schedule_callback
from stackless import get_thread_info as get_thread_info
from stackless import getcurrent as getcurrent
from stackless import getcurrentid as getcurrentid
from stackless import getdebug as getdebug
from stackless import getmain as getmain
from stackless import getruncount as getruncount
from stackless import getuncollectables as getuncollectables
from stackless import run as run
from stackless import run_n_tasklets as run_n_tasklets
from stackless import schedule as schedule
from stackless import schedule_remove as schedule_remove
from stackless import set_channel_callback as set_channel_callback
from stackless import set_error_handler as set_error_handler
from stackless import set_schedule_callback as set_schedule_callback
from stackless import switch_trap as switch_trap
from stackless import tasklet as tasklet

_arch: str

def _stack_limits() -> tuple[int, int]: ...
def _set_stack_limits(size: int, count: int, /) -> None: ...
def _at_exit() -> None: ...
def _noop_fastcall(*args: object) -> None: ...
