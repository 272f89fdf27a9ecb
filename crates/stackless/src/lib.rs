//! `stackless._stackless`: tasklets and channels for CPython.
//!
//! The source has layers, one folder each. A file uses its own folder and folders further down; `tools/check-layers`
//! checks this, and that no files use one another in a circle. What a lower layer has to call in an upper one is
//! registered here.
//!
//! | folder | holds | may not |
//! |---|---|---|
//! | `lib.rs` | module initialization; the one place where parts are registered with one another | |
//! | `api/` | functions of the module (`module`, `parking`), the C table (`c_table`), the bridge to pickling (`pickle`, `reducers`, `pickle_flags`), the self-test of the import (`self_test`) | |
//! | `types/` | the types `tasklet` (`tasklet`, `tasklet_attributes`, `tasklet_control`, `tasklet_gc`, `tasklet_join`), `channel`, cancel scopes (`scope`), the cases of `alt()` (`case`), and how tasklets and channels are pickled (`reduce`) | hold rules: a method parses its arguments and calls `engine/` or `scheduler/` |
//! | `sync/` | the primitives of `stackless.sync`: how a caller waits for its turn and is given it (`queue`), what their types have in common (`object`), times (`times`); `lock`, `rlock` (`count`), `semaphore`, `event` (with the queue of a condition), `simple_queue`, `bounded_queue` with its type in `queue_type` and its `items`; `local`; their state for pickles (`pickle`) | be used by anything but `api/` |
//! | `sockets/` | the socket type (`socket`, `methods`), its calls (`calls`), calls that have no flag against blocking (`blocking`), the patched standard ones (`standard`), buffers of what was received (`byte_queue`) | be used by anything but `api/` |
//! | `waiting/` | `alt()` (`alt`), `sleep()` (`sleep`), `with timeout()` (`timeout`), the end of scopes and task groups (`group`), `run()` (`run`), worker threads (`to_thread`), waits for other descriptors (`descriptors`) | be used further down |
//! | `observe/` | state, name and line of a tasklet (`inspect`), short texts for values (`describe`), snapshots and reprs (`snapshot`), which tasklet waits for which (`who_waits`), what a tasklet waits for in words (`reasons`, `primitives`), the list after a fatal signal (`crash`), counters (`counts`), leak reports (`leaks`), warnings (`warnings`), where tasklets were made (`origins`), recordings (`recording`, `event_log`, `record_functions`) | change anything but its own records; be used by `engine/` and below |
//! | `engine/` | the switch (`switch`), send and receive (`transfer`), buffers of channels (`buffer`), `schedule()` (`schedule`), leaving the ring (`departure`), the body of a tasklet (`body`), its end (`ending`, `outcome`), deadlocks (`deadlock`), the sleep of a thread (`sleep`) and its end (`thread_end`), exceptions into tasklets (`throw`), limits of `run()` (`run_limits`, `interrupts`), chosen orders (`steering`), the nesting level (`nesting`) | it is the only folder that changes C stacks |
//! | `parking/` | parking (`park`), what prevents it (`obstacle`), the choice of tasklets to park (`room`), stacks (`stacks`) | switch |
//! | `scheduler/` | the calling thread's scheduler (`entry`), the ring (`ring`), waits (`waits`), the ends of those in several queues (`alts`), limits (`limits`), cancel scopes (`scopes`), timers (`timers`), descriptors (`readiness`), idle threads (`idle`), the flags word and observers (`hooks`), callbacks of the program (`callbacks`) | switch; run Python code, except in callbacks |
//! | `model/` | data: `tasklet`, `channel`, `scope`, `thread`, `seat`, `wait`, `alt` and its result (`alt_result`), `readiness`, `bomb`, the `world` that holds them, memory for tasklets (`allocation`), `classes`, `settings` | run Python code |
//! | `python/` | references and errors (`objects`), arguments (`args`), types (`types`), exhausted memory (`memory`), cells that the GIL protects (`gil`) | know tasklets |

mod api;
mod engine;
mod model;
mod observe;
mod parking;
mod python;
mod scheduler;
mod sockets;
mod sync;
mod types;
mod waiting;

use api::{c_table, module};
use engine::{body, deadlock, ending};
use model::{allocation, seat};
use observe::{counts, recording, warnings, who_waits};
use pyo3_ffi::*;
use scheduler::hooks;
use std::ffi::{c_int, c_void};
use std::ptr::null_mut;
use std::sync::Once;
use sync::local;
use types::tasklet;

/// Registers functions with layers below, which do not name the layers of these functions.
fn register() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        seat::register_body(body::begin);
        allocation::register_vectorcall(tasklet::call);
        ending::register_locals(local::tasklet_ends);
        deadlock::register_explanation(who_waits::explain);
        ending::register_note(warnings::note);
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
    // SAFETY: the definition is never freed.
    unsafe { PyModuleDef_Init(definition) }
}
