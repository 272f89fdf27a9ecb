//! What a tasklet waits for besides a partner in a channel, and the calls on sockets that are tried again: data.

use crate::python::objects::Obj;
use stackless_core::TaskletId;
use stackless_reactor::TimerId;
use std::ffi::{c_int, c_void};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IoDirection {
    In,
    Out,
}

/// A call on a socket that can be tried again.
#[derive(Clone, Copy)]
pub struct SocketCall {
    pub kind: CallKind,
    pub descriptor: c_int,
    /// The maximum number of bytes to receive; the number of bytes already sent.
    pub count: usize,
    pub flags: c_int,
    /// For `alt()`, which makes such a call as well: True if its choice is fair.
    pub fair: bool,
    /// True if this module is told when the descriptor is closed: so it is for its own sockets.
    pub followed: bool,
    pub deadline: Deadline,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum CallKind {
    Recv,
    RecvInto,
    /// Fill the buffer (MSG_WAITALL), and return it as bytes.
    RecvAll,
    /// Fill the buffer (MSG_WAITALL), and return the number of bytes.
    RecvIntoAll,
    Send,
    SendAll,
    Wait(IoDirection),
}

#[derive(Clone, Copy)]
pub enum Deadline {
    /// Raise an error if it would block.
    None,
    Until(u64),
    Unlimited,
}

impl SocketCall {
    pub fn direction(&self) -> IoDirection {
        match self.kind {
            CallKind::Recv | CallKind::RecvInto | CallKind::RecvAll | CallKind::RecvIntoAll => {
                IoDirection::In
            }
            CallKind::Send | CallKind::SendAll => IoDirection::Out,
            CallKind::Wait(direction) => direction,
        }
    }
}

/// What a tasklet waits for.
#[derive(Clone, Copy)]
pub enum WaitKind {
    /// Time only.
    Time,
    /// A partner in a channel, until a time.
    Partner,
    /// Its turn at a primitive of `stackless.sync`; when the time is over, its call returns this. Borrowed from an
    /// object that lives for ever.
    Turn(Obj),
    /// The first of several cases: a pointer that only `model/alt.rs` uses.
    Alt(*const c_void),
    /// A call on a worker thread: a pointer that only `waiting/to_thread.rs` uses, and the function, which the job owns.
    Job { job: *const c_void, func: Obj },
    /// A descriptor, until it is ready.
    Descriptor(c_int, IoDirection),
    /// The same, but it is no error if the time is over before.
    DescriptorOrTime(c_int, IoDirection),
}

/// Undoes what is outside the tasklet when its wait ends, for whatever reason.
pub type Undo = fn(TaskletId, WaitKind);

#[derive(Clone, Copy)]
pub struct Wait {
    pub timer: Option<TimerId>,
    pub kind: WaitKind,
    pub undo: Option<Undo>,
    /// True if it may end by itself: see [`crate::scheduler::waits`].
    pub armed: bool,
}
