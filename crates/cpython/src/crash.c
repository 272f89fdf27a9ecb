/* After a fatal signal: the calls of all tasklets, written with write(2) alone.
 *
 * Nothing here allocates, locks, or calls Python. Only a thread that holds the GIL can be in the middle of changing
 * what is read here, so nothing is read unless the crashing thread holds it itself. Memory that the crash destroyed
 * is still a danger, as it is to faulthandler: the former handlers are restored first, so that a second fault ends
 * the process as without this file. */
#include "exports.h"
#include <errno.h>
#include <signal.h>
#include <unistd.h>

/* On 3.11 sl_thread_state() is that of the thread that holds the GIL, whichever thread asks. */
static int holds_gil(void)
{
    PyThreadState *ts = sl_thread_state();
    return ts != NULL && ts->thread_id == PyThread_get_thread_ident();
}

static const int SIGNALS[] = {SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSEGV};
#define COUNT (sizeof SIGNALS / sizeof *SIGNALS)

static struct sigaction before[COUNT];
static int installed;
static int descriptor = -1;
static void (*list)(void);

/* Writes to the descriptor that sl_crash_install() was given. */
void sl_crash_write(const char *text, size_t length)
{
    while (length > 0) {
        ssize_t done = write(descriptor, text, length);
        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done <= 0) {
            return;
        }
        text += done;
        length -= (size_t)done;
    }
}

static void write_text(const char *text)
{
    sl_crash_write(text, strlen(text));
}

void sl_crash_number(unsigned long long number, unsigned base)
{
    char digits[24];
    size_t at = sizeof digits;
    do {
        digits[--at] = "0123456789abcdef"[number % base];
        number /= base;
    } while (number > 0);
    sl_crash_write(digits + at, sizeof digits - at);
}

/* At most 300 characters of a str; those that are not ASCII as question marks. */
static void write_str(PyObject *text)
{
    if (text == NULL || !PyUnicode_Check(text)) {
        write_text("???");
        return;
    }
    Py_ssize_t length = PyUnicode_GET_LENGTH(text);
    char part[300];
    Py_ssize_t shown = length < (Py_ssize_t)sizeof part ? length : (Py_ssize_t)sizeof part;
    for (Py_ssize_t i = 0; i < shown; i++) {
        Py_UCS4 c = PyUnicode_READ_CHAR(text, i);
        part[i] = c >= ' ' && c < 127 ? (char)c : '?';
    }
    sl_crash_write(part, (size_t)shown);
}

/* The calls of a tasklet, innermost first, as faulthandler shows them. */
void sl_crash_calls(PyThreadState *ts, sl_state *state)
{
    sl_position positions[50];
    int count = sl_positions(ts, state, positions, 50);
    for (int i = 0; i < count; i++) {
        PyCodeObject *code = positions[i].code;
        write_text("  File \"");
        write_str(code->co_filename);
        write_text("\", line ");
        int line = PyCode_Addr2Line(code, positions[i].at);
        sl_crash_number(line > 0 ? (unsigned long long)line : 0, 10);
        write_text(" in ");
        write_str(code->co_qualname);
        write_text("\n");
    }
    if (count == 50) {
        write_text("  ...\n");
    }
}

static void on_crash(int signum)
{
    int saved = errno;
    for (size_t i = 0; i < COUNT; i++) {
        sigaction(SIGNALS[i], &before[i], NULL);
    }
    if (holds_gil()) {
        list();
    }
    else {
        write_text("\nTasklets are not shown: the thread does not hold the interpreter's lock.\n");
    }
    errno = saved;
    raise(signum);
}

/* Installs the handlers. 0, or -1 and errno. A second call changes descriptor and lister only. */
int sl_crash_install(int fd, void (*lister)(void))
{
    descriptor = fd;
    list = lister;
    if (installed) {
        return 0;
    }
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_crash;
    action.sa_flags = SA_NODEFER | SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < COUNT; i++) {
        if (sigaction(SIGNALS[i], &action, &before[i]) < 0) {
            return -1;
        }
    }
    installed = 1;
    return 0;
}
