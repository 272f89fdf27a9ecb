//! `stackless._stackless`: tasklets and channels for CPython.
//!
//! | file | holds |
//! |---|---|
//! | `kernel` | the switch, and the rules for everything around it |
//! | `park` | suspended tasklets without a C stack |
//! | `self_test` | does this interpreter do what parking needs? |
//! | `thread` | one scheduler per thread: its beginning, sleep and end |
//! | `ending` | how a tasklet ends; uncaught exceptions |
//! | `throw` | exceptions from one tasklet into another |
//! | `channel` | send and receive |
//! | `hooks` | callbacks and the switch trap |
//! | `counts` | how many tasklets, threads, waited-for channels and switches |
//! | `inspect`, `describe` | state, channel, line and name of a tasklet; short texts for values |
//! | `explain`, `deadlock` | what all tasklets are doing, as data and in reprs; deadlock errors and who waits for whom |
//! | `crash` | all tasklets after a fatal signal |
//! | `recording`, `log`, `record_module` | what the recorder is told; what it has written down; its functions |
//! | `waits` | who waits for time or a worker thread; what becomes of a thread that has nothing to run |
//! | `sleep`, `limits`, `pool`, `join` | `sleep()`; `with timeout()`; `to_thread()`; `tasklet.join()` |
//! | `readiness`, `socket_calls`, `socket_type`, `descriptors` | who waits for a descriptor; the quick calls of sockets; their type; waits for other descriptors |
//! | `blocking` | system calls on descriptors that block, which must not block the thread |
//! | `byte_queue` | bytes that were received and not read yet |
//! | `standard` | what takes the place of the standard library's calls |
//! | `watchdog` | `run()`, its limits, and interrupts |
//! | `tasklet` | the tasklet object |
//! | `tasklet_type`, `moves`, `attributes`, `lifetime` | its type: making and binding; methods that move; attributes; the collector's side |
//! | `leaks` | tasklets that wait for ever, found by the collector |
//! | `channel_type`, `bomb` | the other types |
//! | `pickle` | tasklets, channels and generators as data, for `stackless.pickling` |
//! | `pickle_flags` | what goes into pickles besides the usual |
//! | `capi` | the table of C functions for C++ code |
//! | `module` | the functions |
//! | `memory` | what happens when there is none |
//! | `py`, `args`, `types` | the C API: references and errors; arguments; types and tables |

mod api;
mod engine;
mod model;
mod observe;
mod parking;
mod python;
mod scheduler;
mod sockets;
mod types;
mod waiting;

use api::{c_table, module};
use engine::{body, deadlock};
use model::{allocation, seat};
use observe::{counts, recording, who_waits};
use pyo3_ffi::*;
use scheduler::hooks;
use std::ffi::{c_int, c_void};
use std::ptr::null_mut;
use std::sync::Once;
use types::tasklet;

/// Registers parts with the layers below, which do not name them.
fn register() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        seat::register_body(body::begin);
        allocation::register_vectorcall(tasklet::call);
        deadlock::register_explanation(who_waits::explain);
        hooks::register_recorder(&recording::ToEventLog);
        hooks::register_observer(hooks::COUNT | hooks::AGES, counts::observe);
        hooks::register_observer(hooks::FAST, c_table::announce);
    });
}

unsafe extern "C" fn exec(module: *mut PyObject) -> c_int {
    register();
    let done = module::check_interpreter().and_then(|()| module::fill_once(module));
    if done.is_ok() { 0 } else { -1 }
}

/// The module's entry point, called by the import system.
#[unsafe(no_mangle)]
pub extern "C" fn PyInit__stackless() -> *mut PyObject {
    let slots = vec![
        PyModuleDef_Slot { slot: Py_mod_exec, value: exec as *mut c_void },
        #[cfg(Py_3_12)]
        PyModuleDef_Slot {
            slot: Py_mod_multiple_interpreters,
            value: Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED,
        },
        PyModuleDef_Slot { slot: 0, value: null_mut() },
    ];
    let definition = Box::leak(Box::new(PyModuleDef {
        m_base: PyModuleDef_HEAD_INIT,
        m_name: c"_stackless".as_ptr(),
        m_doc: c"The engine of stackless. Import stackless instead.".as_ptr(),
        m_size: 0,
        m_methods: null_mut(),
        m_slots: slots.leak().as_mut_ptr(),
        m_traverse: None,
        m_clear: None,
        m_free: None,
    }));
    // SAFETY: the definition lives for ever.
    unsafe { PyModuleDef_Init(definition) }
}
