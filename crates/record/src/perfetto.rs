//! The export as a Perfetto trace: a track for each tasklet, with slices for what it does, and flows from each
//! send to its receive.
//!
//! The messages below are the small part of Perfetto's published schema (`perfetto_trace.proto`)
//! that is needed here, with its field numbers.

use crate::event::{Event, Flags, Kind, State};
use crate::model::Model;
use crate::recording::Recording;
use prost::Message;
use std::collections::BTreeMap;

#[derive(Clone, PartialEq, Message)]
struct Trace {
    #[prost(message, repeated, tag = "1")]
    packet: Vec<TracePacket>,
}

#[derive(Clone, PartialEq, Message)]
struct TracePacket {
    #[prost(uint64, optional, tag = "8")]
    timestamp: Option<u64>,
    #[prost(uint32, optional, tag = "10")]
    trusted_packet_sequence_id: Option<u32>,
    #[prost(message, optional, tag = "11")]
    track_event: Option<TrackEvent>,
    #[prost(uint32, optional, tag = "13")]
    sequence_flags: Option<u32>,
    #[prost(message, optional, tag = "60")]
    track_descriptor: Option<TrackDescriptor>,
}

#[derive(Clone, PartialEq, Message)]
struct TrackDescriptor {
    #[prost(uint64, optional, tag = "1")]
    uuid: Option<u64>,
    #[prost(string, optional, tag = "2")]
    name: Option<String>,
    #[prost(message, optional, tag = "3")]
    process: Option<ProcessDescriptor>,
    #[prost(uint64, optional, tag = "5")]
    parent_uuid: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct ProcessDescriptor {
    #[prost(int32, optional, tag = "1")]
    pid: Option<i32>,
    #[prost(string, optional, tag = "6")]
    process_name: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct TrackEvent {
    #[prost(message, repeated, tag = "4")]
    debug_annotations: Vec<DebugAnnotation>,
    #[prost(enumeration = "Type", optional, tag = "9")]
    r#type: Option<i32>,
    #[prost(uint64, optional, tag = "11")]
    track_uuid: Option<u64>,
    #[prost(string, repeated, tag = "22")]
    categories: Vec<String>,
    #[prost(string, optional, tag = "23")]
    name: Option<String>,
    #[prost(message, optional, tag = "33")]
    source_location: Option<SourceLocation>,
    #[prost(fixed64, repeated, packed = "false", tag = "47")]
    flow_ids: Vec<u64>,
    #[prost(fixed64, repeated, packed = "false", tag = "48")]
    terminating_flow_ids: Vec<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
enum Type {
    Unspecified = 0,
    SliceBegin = 1,
    SliceEnd = 2,
    Instant = 3,
}

#[derive(Clone, PartialEq, Message)]
struct DebugAnnotation {
    #[prost(string, optional, tag = "6")]
    string_value: Option<String>,
    #[prost(string, optional, tag = "10")]
    name: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct SourceLocation {
    #[prost(string, optional, tag = "2")]
    file_name: Option<String>,
    #[prost(string, optional, tag = "3")]
    function_name: Option<String>,
    #[prost(uint32, optional, tag = "4")]
    line_number: Option<u32>,
}

const PROCESS: u64 = 1;
const INCREMENTAL_STATE_CLEARED: u32 = 1;

fn thread_track(thread: u16) -> u64 {
    (1 << 32) + u64::from(thread)
}

fn tasklet_track(tasklet: u32) -> u64 {
    (2 << 32) + u64::from(tasklet)
}

impl Recording {
    /// The recording as a Perfetto trace, which opens in the Perfetto UI.
    pub fn to_perfetto(&self) -> Vec<u8> {
        let mut export = Export { recording: self, trace: Trace::default(), open: BTreeMap::new(), flows: 0 };
        export.track(TrackDescriptor {
            uuid: Some(PROCESS),
            process: Some(ProcessDescriptor { pid: Some(1), process_name: Some(self.title.clone()) }),
            ..TrackDescriptor::default()
        });
        let mut model = Model::default();
        let mut time = 0;
        for e in &self.events {
            export.before(e, &model);
            model.apply(e);
            export.after(e, &model);
            time = e.time;
        }
        for track in std::mem::take(&mut export.open).into_values() {
            export.event(time, TrackEvent { track_uuid: Some(track), ..slice_end() });
        }
        if let Some(first) = export.trace.packet.first_mut() {
            first.sequence_flags = Some(INCREMENTAL_STATE_CLEARED);
        }
        export.trace.encode_to_vec()
    }
}

struct Export<'a> {
    recording: &'a Recording,
    trace: Trace,
    /// Tasklets with a slice that has not ended, and their tracks.
    open: BTreeMap<u32, u64>,
    flows: u64,
}

fn slice_end() -> TrackEvent {
    TrackEvent { r#type: Some(Type::SliceEnd.into()), ..TrackEvent::default() }
}

impl Export<'_> {
    fn track(&mut self, descriptor: TrackDescriptor) {
        self.trace.packet.push(TracePacket {
            trusted_packet_sequence_id: Some(1),
            track_descriptor: Some(descriptor),
            ..TracePacket::default()
        });
    }

    fn event(&mut self, time: u64, event: TrackEvent) {
        self.trace.packet.push(TracePacket {
            timestamp: Some(time),
            trusted_packet_sequence_id: Some(1),
            track_event: Some(event),
            ..TracePacket::default()
        });
    }

    fn name_track(&mut self, tasklet: u32, thread: u16, label: u32) {
        let label = self.recording.text(label);
        let name =
            if label.is_empty() { format!("tasklet {tasklet}") } else { format!("{label} #{tasklet}") };
        self.track(TrackDescriptor {
            uuid: Some(tasklet_track(tasklet)),
            name: Some(name),
            parent_uuid: Some(thread_track(thread)),
            ..TrackDescriptor::default()
        });
    }

    fn instant(&self, tasklet: u32, stack: u32, category: &str, name: String) -> TrackEvent {
        TrackEvent {
            r#type: Some(Type::Instant.into()),
            track_uuid: Some(tasklet_track(tasklet)),
            categories: vec![category.into()],
            name: Some(name),
            source_location: self.location(stack),
            ..TrackEvent::default()
        }
    }

    fn location(&self, stack: u32) -> Option<SourceLocation> {
        self.recording.line(stack).map(|line| SourceLocation {
            file_name: Some(line.file),
            function_name: Some(line.function),
            line_number: Some(line.line),
        })
    }

    fn begin(&mut self, time: u64, tasklet: u32, category: &str, name: String, stack: u32, value: u32) {
        self.end(time, tasklet);
        let track = tasklet_track(tasklet);
        let annotation = DebugAnnotation {
            name: Some("value".into()),
            string_value: Some(self.recording.text(value).into()),
        };
        let event = TrackEvent {
            r#type: Some(Type::SliceBegin.into()),
            track_uuid: Some(track),
            categories: vec![category.into()],
            name: Some(name),
            source_location: self.location(stack),
            debug_annotations: if value == 0 { Vec::new() } else { vec![annotation] },
            ..TrackEvent::default()
        };
        self.event(time, event);
        self.open.insert(tasklet, track);
    }

    fn end(&mut self, time: u64, tasklet: u32) {
        if let Some(track) = self.open.remove(&tasklet) {
            self.event(time, TrackEvent { track_uuid: Some(track), ..slice_end() });
        }
    }

    /// What must be exported before the model applies the event: the partner still waits.
    fn before(&mut self, e: &Event, model: &Model) {
        if matches!(e.kind, Kind::Transfer | Kind::HandOver) {
            self.flows += 1;
            let sends = e.flags.has(Flags::SENDS);
            let (from, to) = if sends { (e.tasklet, e.other) } else { (e.other, e.tasklet) };
            let stack =
                |t: u32| if t == e.tasklet { e.stack } else { model.tasklets.get(&t).map_or(0, |t| t.stack) };
            let value = self.recording.text(e.text).to_owned();
            let mut sent =
                self.instant(from, stack(from), "channel", format!("send {value} on channel {}", e.place));
            sent.flow_ids = vec![self.flows];
            let mut got =
                self.instant(to, stack(to), "channel", format!("receive {value} from channel {}", e.place));
            got.terminating_flow_ids = vec![self.flows];
            self.event(e.time, sent);
            self.event(e.time, got);
        }
        if matches!(e.kind, Kind::Buffer | Kind::Unbuffer) && e.tasklet != 0 {
            let (value, place) = (self.recording.text(e.text), e.place);
            let what = match (e.kind, e.other) {
                (Kind::Unbuffer, _) => format!("take {value} out of the buffer of channel {place}"),
                (_, 0) => format!("put {value} into the buffer of channel {place}"),
                (_, other) => format!("put {value}, sent by #{other}, into the buffer of channel {place}"),
            };
            let event = self.instant(e.tasklet, e.stack, "channel", what);
            self.event(e.time, event);
        }
        let stops = match e.kind {
            Kind::Switch => e.tasklet,
            Kind::Transfer | Kind::HandOver | Kind::Buffer | Kind::Link | Kind::Unlink => e.other,
            _ => 0,
        };
        if stops != 0
            && model.tasklets.get(&stops).is_some_and(|t| e.kind == Kind::Switch || t.state.is_blocked())
        {
            self.end(e.time, stops);
        }
    }

    fn after(&mut self, e: &Event, model: &Model) {
        match e.kind {
            Kind::Thread => {
                let label = self.recording.text(e.text).to_owned();
                self.track(TrackDescriptor {
                    uuid: Some(thread_track(e.thread)),
                    name: Some(if label.is_empty() { format!("thread {}", e.thread) } else { label }),
                    parent_uuid: Some(PROCESS),
                    ..TrackDescriptor::default()
                });
                self.name_track(e.tasklet, e.thread, model.tasklets.get(&e.tasklet).map_or(0, |t| t.label));
                self.runs(e.time, e.tasklet, model);
            }
            Kind::Create => self.name_track(e.other, e.thread, e.text),
            Kind::Label if e.other != 0 => {
                self.name_track(e.other, model.tasklets[&e.other].thread, e.text);
            }
            Kind::HandOver => {
                self.end(e.time, e.tasklet);
                self.runs(e.time, e.other, model);
            }
            Kind::Unlink | Kind::Switch => {
                let stopped = if e.kind == Kind::Switch { e.tasklet } else { e.other };
                self.stopped(e, stopped, model);
                if e.kind == Kind::Switch && e.other != 0 {
                    self.runs(e.time, e.other, model);
                }
            }
            Kind::Throw if e.other != 0 => {
                let name = format!("throws {} into #{}", self.recording.text(e.text), e.other);
                let event = self.instant(e.tasklet, e.stack, "exception", name);
                self.event(e.time, event);
            }
            Kind::Output | Kind::Note if e.tasklet != 0 => {
                let category = if e.kind == Kind::Note { "note" } else { "output" };
                let text = self.recording.text(e.text).trim_end().to_owned();
                let event = self.instant(e.tasklet, e.stack, category, text);
                self.event(e.time, event);
            }
            _ => {}
        }
    }

    fn runs(&mut self, time: u64, tasklet: u32, model: &Model) {
        let stack = model.tasklets.get(&tasklet).map_or(0, |t| t.stack);
        self.begin(time, tasklet, "running", "running".into(), stack, 0);
    }

    fn stopped(&mut self, e: &Event, stopped: u32, model: &Model) {
        let Some(t) = model.tasklets.get(&stopped) else { return };
        let what = match t.state {
            State::Paused | State::Receiving | State::Iterating if e.text != 0 => {
                self.recording.text(e.text).to_owned()
            }
            State::Sending => format!("sends on channel {}", e.place),
            State::Receiving => format!("receives from channel {}", e.place),
            State::Iterating => format!("iterates over channel {}", e.place),
            State::Watching => "run()".into(),
            State::Choosing => format!("alt(): {}", self.recording.text(e.text)),
            State::Failed | State::Killed => {
                let name = format!("ended by {}", self.recording.text(e.text));
                let event = self.instant(stopped, e.stack, "exception", name);
                return self.event(e.time, event);
            }
            _ => return,
        };
        let value = if t.state == State::Sending { e.text } else { 0 };
        self.begin(e.time, stopped, "waiting", what, t.stack, value);
    }
}
