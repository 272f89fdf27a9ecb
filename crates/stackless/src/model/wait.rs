//! What a tasklet waits for besides a partner in a channel: data.

use stackless_core::TaskletId;
use stackless_reactor::TimerId;
use std::ffi::{c_int, c_void};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IoDirection {
    In,
    Out,
}

/// A call that can be tried again.
#[derive(Clone, Copy)]
pub struct SocketCall {
    pub kind: CallKind,
    pub descriptor: c_int,
    /// How many bytes may come; those that are gone.
    pub count: usize,
    pub flags: c_int,
    /// Do short reads mean that nothing is left? Of a stream they do.
    pub stream: bool,
    /// Do we hear when the descriptor is closed? Of our own sockets we do.
    pub followed: bool,
    pub deadline: Deadline,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum CallKind {
    Recv,
    RecvInto,
    /// Fill the buffer (MSG_WAITALL), and return it as bytes ...
    RecvAll,
    /// ... or how many bytes are in it.
    RecvIntoAll,
    Send,
    SendAll,
    Wait(IoDirection),
}

#[derive(Clone, Copy)]
pub enum Deadline {
    /// It would block: an error.
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
    /// The time alone.
    Time,
    /// A partner in a channel, for so long.
    Partner,
    /// A call on a worker thread, which only the layer that makes such calls looks into.
    Job(*const c_void),
    /// A descriptor, until it is ready.
    Descriptor(c_int, IoDirection),
    /// The same, and it is no error if the time is over before.
    DescriptorOrTime(c_int, IoDirection),
}

/// What has to be undone outside the tasklet when its wait is over, for whatever reason.
pub type Undo = fn(TaskletId, WaitKind);

pub struct Wait {
    pub timer: Option<TimerId>,
    pub kind: WaitKind,
    pub undo: Option<Undo>,
}
