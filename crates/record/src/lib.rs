//! What a scheduler did: events in a ring buffer, and what can be made of them.
//!
//! This crate knows nothing of Python. The engine calls a [`Recorder`] while something happens;
//! at the end, the recorder gives a [`Recording`], which can be saved, read again, replayed, and
//! exported.
//!
//! ```text
//!   engine ──events──> Recorder ──finish──> Recording ──> JSON (the page reads that)
//!                      │ ring buffer         │  ^ │
//!                      │ texts, stacks       │  └─┘ read
//!                      └ Model of what was   └──> Perfetto
//!                        dropped
//! ```
//!
//! | file | holds |
//! |---|---|
//! | `event` | what an event says |
//! | `model` | the state of everything after any number of events |
//! | `recorder`, `clock` | the ring buffer, and when things happen |
//! | `text`, `stack` | interned texts and call stacks |
//! | `recording` | the finished recording, its file format and its reader |
//! | `perfetto` | the export as a Perfetto trace |
//!
//! When the buffer is full, the oldest events are dropped. They are not simply lost: a [`Model`]
//! follows them, and the recording begins with the state that it has reached.
//!
//! ```
//! use stackless_record::{Event, Kind, Recorder, State};
//!
//! let mut recorder = Recorder::new(1000);
//! recorder.push(Event { kind: Kind::Thread, thread: 1, tasklet: 1, ..Event::default() });
//! let label = recorder.texts.intern("greet('A')");
//! recorder.push(Event { kind: Kind::Create, thread: 1, tasklet: 1, other: 2, text: label, ..Event::default() });
//! recorder.push(Event { kind: Kind::Link, thread: 1, tasklet: 1, other: 2, ..Event::default() });
//! recorder.push(Event { kind: Kind::Switch, thread: 1, tasklet: 1, other: 2, ..Event::default() });
//!
//! let recording = recorder.finish(|_, _| None);
//! let model = recording.replay(recording.events.len());
//! assert_eq!(model.ring(1), [2, 1]);
//! assert_eq!(model.tasklets[&2].state, State::Running);
//! ```

#![deny(unsafe_code)]

mod clock;
mod event;
mod model;
mod perfetto;
mod recorder;
mod recording;
mod stack;
mod text;

pub use event::{Event, Flags, Kind, State};
pub use model::{Channel, Model, Tasklet, Thread};
pub use recorder::Recorder;
pub use recording::{File, Recording, SourceLine};
pub use stack::{CUT, Stacks};
pub use text::Texts;
