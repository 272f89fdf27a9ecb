//! What a tasklet waits for besides a partner in a channel: data.

use stackless_core::TaskletId;
use stackless_reactor::TimerId;
use std::ffi::{c_int, c_void};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    In,
    Out,
}

/// A call that can be tried again.
#[derive(Clone, Copy)]
pub struct Call {
    pub kind: Kind,
    pub descriptor: c_int,
    /// How many bytes may come; those that are gone.
    pub count: usize,
    pub flags: c_int,
    /// Do short reads mean that nothing is left? Of a stream they do.
    pub stream: bool,
    /// Do we hear when the descriptor is closed? Of our own sockets we do.
    pub followed: bool,
    pub time: Time,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Recv,
    RecvInto,
    /// Fill the buffer (MSG_WAITALL), and return it as bytes ...
    RecvAll,
    /// ... or how many bytes are in it.
    RecvIntoAll,
    Send,
    SendAll,
    Wait(Way),
}

#[derive(Clone, Copy)]
pub enum Time {
    /// It would block: an error.
    None,
    Until(u64),
    Unlimited,
}

impl Call {
    pub fn way(&self) -> Way {
        match self.kind {
            Kind::Recv | Kind::RecvInto | Kind::RecvAll | Kind::RecvIntoAll => Way::In,
            Kind::Send | Kind::SendAll => Way::Out,
            Kind::Wait(way) => way,
        }
    }
}

/// What a tasklet waits for.
#[derive(Clone, Copy)]
pub enum What {
    /// The time alone.
    Time,
    /// A partner in a channel, for so long.
    Partner,
    /// A call on a worker thread, which only the layer that makes such calls looks into.
    Job(*const c_void),
    /// A descriptor, until it is ready.
    Descriptor(c_int, Way),
    /// The same, and it is no error if the time is over before.
    DescriptorOrTime(c_int, Way),
}

/// What has to be undone outside the tasklet when its wait is over, for whatever reason.
pub type Undo = fn(TaskletId, What);

pub struct Wait {
    pub timer: Option<TimerId>,
    pub what: What,
    pub undo: Option<Undo>,
}
