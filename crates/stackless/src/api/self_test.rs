//! The self-test at import: whether this interpreter does what parking needs.
//!
//! A small function of `stackless._package.check` runs on a stack of its own and waits in [`wait`]; then it is examined like
//! any tasklet, parked, woken and evaluated to its end. The scheduler is not used: the module
//! has no functions yet. If any result is not as expected, parking is turned off for the process, with the
//! reason; tasklets then keep their stacks.

use crate::parking::obstacle::{self, Obstacle};
use crate::python::objects::*;
use crate::python::types;
use pyo3_ffi::*;
use stackless_cpython::{self as cpython, CallLayout, Evaluator, Pending, State, Unparked};
use stackless_stack as stack;
use std::cell::{Cell, UnsafeCell};
use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};

const C_STACK: usize = 1 << 20;
const DATA_STACK: usize = 64 << 10;

/// More bytes than the frames take. After parking they are overwritten: nothing may depend on them.
const USED: usize = 4 << 10;

struct Trial {
    ts: *mut PyThreadState,
    home: UnsafeCell<State>,
    state: *mut State,
    home_point: Cell<*mut u8>,
    point: Cell<*mut u8>,
    pending: Cell<Pending>,
    /// The function, the test's `wait`, and what `wait` is called with and returns. Borrowed.
    function: Obj,
    arguments: [Obj; 2],
    woken: Cell<bool>,
    result: Cell<Option<Obj>>,
}

static TRIAL: AtomicPtr<Trial> = AtomicPtr::new(null_mut());

impl Trial {
    /// Continues the trial's stack at a resume point, until it waits or has ended.
    fn continue_at(&self, point: *mut u8) {
        // SAFETY: the state and the stack belong together and are suspended; nothing is owned in the frames
        // of this stack that the other one could miss.
        unsafe {
            cpython::swap(self.home.get(), self.state);
            stack::switch(self.home_point.as_ptr(), point);
        }
    }
}

/// The primitive that the function waits in.
unsafe extern "C" fn wait(_: Obj, args: *mut Obj, count: Py_ssize_t) -> Obj {
    // SAFETY: null or the trial that is under way.
    let Some(trial) = (unsafe { TRIAL.load(Relaxed).as_ref() }) else {
        return give(Err(runtime_error("the self-test of stackless is over")));
    };
    if !trial.point.get().is_null() {
        return new_ref(trial.arguments[1]); // it was called again
    }
    trial.pending.set(Pending::call(wait as *const c_void, args, count));
    // SAFETY: as in `continue_at`.
    unsafe {
        cpython::swap(trial.state, trial.home.get());
        stack::switch(trial.point.as_ptr(), trial.home_point.get());
    }
    new_ref(trial.arguments[1])
}

unsafe extern "C" fn begin(trial: *mut u8) -> ! {
    // SAFETY: `prepare` was given the trial, which lives until this stack is given up; its state is the
    // running one. The arguments are borrowed from it.
    unsafe {
        let trial = &*trial.cast::<Trial>();
        let mut evaluating = 0;
        let result = if trial.woken.get() {
            cpython::resume(trial.ts, trial.state, new_ref(trial.arguments[1]), &mut evaluating)
        } else {
            PyObject_Vectorcall(trial.function, trial.arguments.as_ptr(), 2, null_mut())
        };
        cpython::finish(trial.ts, trial.state);
        trial.result.set(Some(result));
        cpython::load(trial.home.get());
        stack::switch(&mut null_mut(), trial.home_point.get());
    }
    unreachable!("a stack that has ended is not continued");
}

/// Runs the test, unless it was run. An error has another cause than the test, such as Ctrl-C.
pub fn run() -> Res<()> {
    if !obstacle::is_tested() {
        // SAFETY: the calling thread's.
        let why_not = match unsafe { cpython::evaluator(cpython::thread_state()) } {
            Evaluator::Interpreter => attempt()?.map(|why| format!("the self-test failed: {why}")),
            _ => Some("something else evaluated frames when stackless was imported".into()),
        };
        obstacle::set_tested(why_not);
    }
    Ok(())
}

fn attempt() -> Res<Option<String>> {
    // SAFETY: owned references, which are dropped; the table lives for ever.
    unsafe {
        let module = check(PyImport_ImportModule(c"stackless._package.check".as_ptr()))?;
        let function = PyObject_GetAttrString(module, c"waits_two_calls_deep".as_ptr());
        drop_ref(module);
        let function = check(function)?;
        let table = types::method_table(&[types::method("wait", "Of the self-test.", wait)]);
        let wait = PyCFunction_NewEx(table, null_mut(), null_mut());
        let token = PyUnicode_FromString(c"the token of the self-test".as_ptr());
        let outcome = if wait.is_null() || token.is_null() {
            Err(Raised)
        } else {
            // Finalisers of garbage must not run on that stack.
            let collecting = PyGC_Disable();
            let outcome = with_stack(function, [wait, token]);
            if collecting != 0 {
                PyGC_Enable();
            }
            outcome
        };
        [function, wait, token].into_iter().for_each(drop_ref);
        outcome
    }
}

fn with_stack(function: Obj, arguments: [Obj; 2]) -> Res<Option<String>> {
    // SAFETY: the memory belongs to this function until it is freed, after the trial; it is touched only where used.
    unsafe {
        let low = PyMem_RawMalloc(C_STACK + DATA_STACK).cast::<u8>();
        if low.is_null() {
            return Err(raise(Exc::Memory, "no memory for the self-test"));
        }
        let top = low.add(C_STACK).map_addr(|a| a & !63);
        stack::known_to_valgrind(low, top);
        let ts = cpython::thread_state();
        let trial = Trial {
            ts,
            home: UnsafeCell::new(State::ZERO),
            state: top.cast(),
            home_point: Cell::new(null_mut()),
            point: Cell::new(null_mut()),
            pending: Cell::new(Pending::NONE),
            function,
            arguments,
            woken: Cell::new(false),
            result: Cell::new(None),
        };
        cpython::init_main(ts, trial.home.get());
        cpython::begin_thread(null_mut(), ts, trial.home.get());
        TRIAL.store((&raw const trial).cast_mut(), Relaxed);
        let why_not = parks_and_wakes(&trial, low);
        TRIAL.store(null_mut(), Relaxed);
        cpython::begin_thread(null_mut(), null_mut(), null_mut());
        PyMem_RawFree(low.cast());
        verdict(why_not, trial.result.get().expect("it has ended"), arguments[1])
    }
}

/// Runs the function to its end. The result is why it could not be parked in the middle, None if it could.
///
/// # Safety
/// The trial's C stack lies between `low` and its state, and its data stack behind that.
unsafe fn parks_and_wakes(trial: &Trial, low: *mut u8) -> Option<String> {
    let argument = std::ptr::from_ref(trial).cast_mut().cast();
    let top = trial.state.cast::<u8>();
    let (size, end) = (top.addr() - low.addr(), low.wrapping_add(C_STACK + DATA_STACK));
    // SAFETY: the caller's; each step is made where its precondition holds, as the step before has found out.
    unsafe {
        cpython::init(trial.ts, trial.state, end, size, null_mut());
        trial.continue_at(stack::prepare(top, begin, argument));
        if trial.result.get().is_some() {
            return Some("the function did not wait".into());
        }
        let found: CallLayout = match cpython::can_park(trial.state, &trial.pending.get()) {
            Ok(found) => found,
            Err(obstacle) => {
                let text = Obstacle::At(obstacle).text();
                trial.continue_at(trial.point.get());
                return Some(text);
            }
        };
        let bytes = cpython::parked_size(trial.state);
        let parked = if bytes < USED { PyMem_RawMalloc(bytes).cast::<State>() } else { null_mut() };
        if parked.is_null() {
            trial.continue_at(trial.point.get());
            return Some(format!("its frames would take {bytes} bytes"));
        }
        cpython::park(trial.state, Some(&found), parked, bytes);
        let left = trial.point.get();
        left.write_bytes(0xA5, top.addr() - left.addr() + USED);
        let woken = cpython::wake(trial.ts, trial.state, end, size, parked);
        assert!(woken != Unparked::NoMemory, "two frames fit into a new data stack");
        trial.woken.set(true);
        trial.continue_at(stack::prepare(top, begin, argument));
        PyMem_RawFree(parked.cast());
        None
    }
}

/// Checks what the function returned, owned: whether all its variables were unchanged.
fn verdict(why_not: Option<String>, result: Obj, expected: Obj) -> Res<Option<String>> {
    if result.is_null() {
        let exception = take_exception();
        // SAFETY: an exception class.
        if !is_subclass(exception[0], unsafe { PyExc_Exception }) {
            return Err(set_exception(exception));
        }
        let name = type_name(exception[1]);
        exception.into_iter().for_each(drop_ref);
        return Ok(Some(why_not.unwrap_or_else(|| format!("the function raised {name}"))));
    }
    let same = std::ptr::eq(result, expected);
    drop_ref(result);
    Ok(why_not.or_else(|| (!same).then(|| "the function did not find its variables again".into())))
}
