//! What Stackless knows of CPython's internals, and nothing of scheduling.
//!
//! The C files are compiled against the headers of the interpreter that the extension is built for, since layouts
//! and macros differ from one minor version to the next. The Rust files are their face: safe where possible, and
//! with names and types. `exports.h` declares what Rust calls; `tools/check-c-interface` compares it with the
//! `extern "C"` blocks here.
//!
//! | C file | holds | its Rust face |
//! |---|---|---|
//! | `versions.h`, `frame.h`, `state.h` | which CPython this is; access to frames; a suspended tasklet's share of the thread state | |
//! | `thread.c` | the calling thread: its word, whether a switch is possible | [`mod@thread`] |
//! | `switch.c` | saving and loading a tasklet's share of the thread state | [`mod@switch`] |
//! | `event_loop.c` | the event loops of asyncio that run in tasklets | |
//! | `traverse.c` | what a suspended tasklet holds, for the garbage collector | [`mod@switch`] |
//! | `interpreters.c` | other interpreters that run in a tasklet | [`mod@switch`] |
//! | `context.c` | the tasklets' contexts | [`mod@context`] |
//! | `tracing.c` | the tasklets' trace and profile functions | [`mod@tracing`] |
//! | `ticks.c` | ticks, which interrupt a tasklet that never yields | [`mod@ticks`] |
//! | `frames.c` | the calls a tasklet executes: number, positions, variables | [`mod@frames`] |
//! | `crash.c` | the same after a fatal signal | [`crash`] |
//! | `stack_depth.c` | how many values are on the evaluation stack at an instruction | |
//! | `instruction.c` | the instruction that a frame executes | |
//! | `living.c` | whether what a frame called is an object still, for messages | [`living`] |
//! | `can_park.c`, `park.c`, `resume.c` | whether a tasklet can give up its C stack; how it does; how it continues | [`mod@park`] |
//! | `frame_tuple.c` | a suspended frame as a tuple, and back | |
//! | `slot_kinds.c`, `slot_check.c` | what each value of a frame can be; whether a tuple's values are that | |
//! | `generators.c`, `asyncgen_awaitables.c`, `tasklet_frames.c` | generators, awaitables and whole tasklets as tuples, and back | [`mod@frame_tuples`] |
//!
//! A file uses only files above it or below it in one direction: `tools/check-c-interface` finds circles.

mod alarm;
mod context;
pub mod crash;
mod frame_tuples;
mod frames;
mod park;
mod switch;
mod thread;
mod ticks;
mod tracing;

pub use alarm::{Alarm, Woken};
pub use context::{context, context_entered, current_context, set_context};
pub use frame_tuples::{
    TaskletFrames, awaitable_tuple, generator_tuple, handled, iterates, new_awaitable, new_generator,
    packed_frames, restore_generator, tasklet_frames, unpacked_frames,
};
pub use frames::{
    CallDoes, CodePosition, call_does, code_names, depth, frame_object, function, line_of, nesting,
    positions, set_caller, variable_name, visit_variables,
};
pub use park::{
    CallLayout, Does, Evaluator, Pending, Refusal, RefusalKind, Unparked, can_park, drop_parked, evaluator,
    living, park, parked_room, parked_size, parked_values, resume, wake,
};
pub use switch::{
    Of, State, abandon, check_interpreter, finish, init, is_traced, load, outlive, swap, traverse, unload,
    watch_interpreters,
};
pub use thread::{
    begin_thread, end_thread, enter, forbid, has_ended, ident, ident_of, init_main, is_finalizing,
    is_foreign, thread_dict, thread_state, thread_states, trashcan, word,
};
pub use ticks::{Answer, OnTicks, show_ticks, start_ticks};
pub use tracing::{set_trace, trace_object, traced_lately};
