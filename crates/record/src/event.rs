//! Events: their kinds, fields and flags.

use serde::{Deserialize, Serialize};

/// An event, in 32 bytes. The meaning of the fields depends on the kind; a number of 0 means "none". Tasklets, channels and threads are numbered from 1 and keep their numbers for
/// the whole recording.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(into = "[u64; 9]", try_from = "[u64; 9]")]
pub struct Event {
    /// Nanoseconds since the recording began.
    pub time: u64,
    pub kind: Kind,
    pub flags: Flags,
    /// The thread it happened in; for `Create` and `Link`, the one that `other` belongs to.
    pub thread: u16,
    /// The running tasklet, which caused the event.
    pub tasklet: u32,
    /// The tasklet that the event affects.
    pub other: u32,
    /// A channel; for `Link`, the tasklet that `other` was put directly before; for `Create`, a stack.
    pub place: u32,
    /// A text: a value, a label, an exception, what was printed.
    pub text: u32,
    /// The call stack of `tasklet`.
    pub stack: u32,
}

macro_rules! kinds {
    ($($(#[doc = $doc:literal])* $name:ident = $number:literal,)*) => {
        /// The kind of an event. The numbers are those of the file format.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        #[repr(u8)]
        pub enum Kind { #[default] $($(#[doc = $doc])* $name = $number,)* }

        impl Kind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$name,)*];
        }
    };
}

kinds! {
    /// A thread appears. `tasklet` is its main tasklet, which runs.
    Thread = 0,
    /// A thread has ended, and its tasklets do not run any more.
    ThreadEnd = 1,
    /// `tasklet` made `other`, or bound it again. `text` is its label, and `place` the stack that it
    /// will begin with.
    Create = 2,
    /// `other` has a new label: `text`.
    Label = 3,
    /// `other` was put into its thread's ring, directly before `place`; 0: at the end.
    Link = 4,
    /// `other` was taken out of the ring, and is in the state that the flags say.
    Unlink = 5,
    /// `tasklet` stops, in the state that the flags say, and `other` continues; 0: the thread sleeps.
    /// If it blocks, `place` is the channel and `text` the value it sends, or what it waits for if that is no channel of
    /// the program. If it ends by an exception, `text` is that.
    Switch = 6,
    /// `tasklet` meets `other`, which waited in the channel `place` and leaves its queue. `text` is
    /// the value. The flags say which of the two sends.
    Transfer = 7,
    /// `tasklet` raises the exception `text` in `other`.
    Throw = 8,
    /// A channel appears, with the label `text` and the settings in the flags; or they change.
    Channel = 9,
    /// The channel `place` has ended.
    ChannelEnd = 10,
    /// `tasklet` printed `text`.
    Output = 11,
    /// `tasklet` begins a line.
    Line = 12,
    /// `tasklet` calls a function, which is on its stack already.
    Call = 13,
    /// `tasklet` returns `text` from the function on top of its stack.
    Return = 14,
    /// A note that the program made: `text`.
    Note = 15,
    /// A transfer after which `other` continues at once: it is put into the ring directly behind
    /// `tasklet`, which waits for its next turn.
    HandOver = 16,
    /// The value `text` is put into the buffer of the channel `place`: that of `other`, which waited there and leaves
    /// the queue; 0: of `tasklet`, which does not wait.
    Buffer = 17,
    /// `tasklet` takes the oldest value, `text`, out of the buffer of the channel `place`.
    Unbuffer = 18,
}

impl TryFrom<u64> for Kind {
    type Error = String;

    fn try_from(number: u64) -> Result<Self, String> {
        Self::ALL
            .get(number as usize)
            .copied()
            .ok_or_else(|| format!("no kind of event has the number {number}"))
    }
}

/// What a tasklet is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u8)]
pub enum State {
    /// In the ring, waiting for its turn.
    #[default]
    Runnable = 0,
    Sending = 1,
    Receiving = 2,
    /// Receiving inside an iteration.
    Iterating = 3,
    /// Alive, and in no list.
    Paused = 4,
    /// Inside `run()`, until the others are done.
    Watching = 5,
    Ended = 6,
    /// Ended by an exception that it did not catch.
    Failed = 7,
    /// Ended by TaskletExit.
    Killed = 8,
    Running = 9,
    /// Not started, and in no list.
    Fresh = 10,
    /// Its partner has come; it is about to be put into the ring.
    Met = 11,
    /// Its thread has ended before it did.
    Lost = 12,
    /// Waiting in `alt()`. In `Switch` and `Unlink`, `text` says for what.
    Choosing = 13,
}

impl State {
    pub const ALL: [Self; 14] = [
        Self::Runnable,
        Self::Sending,
        Self::Receiving,
        Self::Iterating,
        Self::Paused,
        Self::Watching,
        Self::Ended,
        Self::Failed,
        Self::Killed,
        Self::Running,
        Self::Fresh,
        Self::Met,
        Self::Lost,
        Self::Choosing,
    ];

    /// True if it waits in a channel's queue.
    pub fn is_blocked(self) -> bool {
        matches!(self, Self::Sending | Self::Receiving | Self::Iterating)
    }

    /// True if it never runs again (unless it is bound again).
    pub fn is_over(self) -> bool {
        matches!(self, Self::Ended | Self::Failed | Self::Killed | Self::Lost)
    }
}

/// Details of an event. The meaning of the low four bits depends on the kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Flags(pub u8);

impl Flags {
    /// `Transfer`: `tasklet` sends and `other` receives; else `other` sends and `tasklet` receives.
    pub const SENDS: Self = Self(1);
    /// `Transfer`, `Buffer`, `Unbuffer`: the value is an exception.
    pub const EXCEPTION: Self = Self(2);
    /// `Output`: to standard error.
    pub const ERROR: Self = Self(1);
    /// `Channel`: the preference plus one is in the two lowest bits.
    pub const SCHEDULE_ALL: Self = Self(4);
    pub const CLOSING: Self = Self(8);
    /// The event describes a state from before the recording, or from before the oldest event kept.
    pub const BEFORE: Self = Self(0x40);
    /// Belongs to the event before it: both are one step in a viewer.
    pub const CONTINUES: Self = Self(0x80);

    pub fn has(self, flag: Self) -> bool {
        self.0 & flag.0 == flag.0
    }

    #[must_use]
    pub fn with(self, flag: Self) -> Self {
        Self(self.0 | flag.0)
    }

    /// `Switch` and `Unlink`: the state of the tasklet that stops or is taken out.
    pub fn of_state(state: State) -> Self {
        Self(state as u8)
    }

    pub fn state(self) -> State {
        State::ALL.get(usize::from(self.0 & 0x0F)).copied().unwrap_or_default()
    }

    /// `Channel`: its settings.
    pub fn of_channel(preference: i8, schedule_all: bool, closing: bool) -> Self {
        Self((preference.clamp(-1, 1) + 1) as u8 | u8::from(schedule_all) << 2 | u8::from(closing) << 3)
    }

    pub fn preference(self) -> i8 {
        (self.0 & 3) as i8 - 1
    }
}

impl From<Event> for [u64; 9] {
    fn from(e: Event) -> Self {
        [
            e.time,
            e.kind as u64,
            e.flags.0.into(),
            e.thread.into(),
            e.tasklet.into(),
            e.other.into(),
            e.place.into(),
            e.text.into(),
            e.stack.into(),
        ]
    }
}

impl TryFrom<[u64; 9]> for Event {
    type Error = String;

    fn try_from([time, kind, flags, thread, rest @ ..]: [u64; 9]) -> Result<Self, String> {
        let mut small = [0; 5];
        for (to, from) in small.iter_mut().zip(rest) {
            *to = u32::try_from(from).map_err(|_| format!("{from} is too large for an event"))?;
        }
        let [tasklet, other, place, text, stack] = small;
        Ok(Self {
            time,
            kind: kind.try_into()?,
            flags: Flags(u8::try_from(flags).map_err(|_| format!("{flags} is too large for flags"))?),
            thread: u16::try_from(thread).map_err(|_| format!("{thread} is too large for a thread"))?,
            tasklet,
            other,
            place,
            text,
            stack,
        })
    }
}
