//! The model, the ring buffer and the file format, with events as they come and with nonsense.

use proptest::prelude::*;
use stackless_record::{Event, Flags, Kind, Model, Recorder, Recording, SourceLine, State};

fn event(kind: Kind, tasklet: u32, other: u32) -> Event {
    Event { kind, thread: 1, tasklet, other, ..Event::default() }
}

/// Main makes 2 and 3; 2 sends on channel 1 and blocks, 3 receives.
fn story(recorder: &mut Recorder) {
    let texts = ["a", "b", "5", "hello\n"].map(|text| recorder.texts.intern(text));
    let [a, b, five, hello] = texts;
    let stack = recorder.stacks.push(0, 100, 7, || ());
    let inner = recorder.stacks.push(stack, 200, 9, || ());
    recorder.push(event(Kind::Thread, 1, 0));
    recorder.push(Event { text: a, stack, ..event(Kind::Create, 1, 2) });
    recorder.push(event(Kind::Link, 1, 2));
    recorder.push(Event { text: b, ..event(Kind::Create, 1, 3) });
    recorder.push(event(Kind::Link, 1, 3));
    recorder.push(Event { flags: Flags::of_state(State::Watching), ..event(Kind::Switch, 1, 2) });
    recorder.push(Event { place: 1, ..event(Kind::Channel, 2, 0) });
    let sends = Flags::of_state(State::Sending);
    recorder.push(Event { flags: sends, place: 1, text: five, stack: inner, ..event(Kind::Switch, 2, 3) });
    recorder.push(Event { text: hello, ..event(Kind::Output, 3, 0) });
    recorder.push(Event { place: 1, text: five, ..event(Kind::Transfer, 3, 2) });
    recorder.push(Event { flags: Flags::CONTINUES, ..event(Kind::Link, 3, 2) });
    recorder.push(Event { flags: Flags::of_state(State::Ended), ..event(Kind::Switch, 3, 2) });
}

fn resolve(code: usize, at: u32) -> Option<SourceLine> {
    // The code 200 is hidden.
    (code != 200).then(|| SourceLine { function: format!("f{code}"), file: "file.py".into(), line: at })
}

fn recorded() -> Recording {
    let mut recorder = Recorder::new(1000);
    story(&mut recorder);
    recorder.finish(resolve)
}

#[test]
fn a_story_is_replayed() {
    let recording = recorded();
    let blocked = recording.replay(8);
    assert_eq!(blocked.ring(1), [3]);
    assert_eq!(blocked.channels[&1].queue, [2]);
    assert_eq!(blocked.balance(1), 1);
    assert_eq!(recording.text(blocked.tasklets[&2].value), "5");
    let place = recording.line(blocked.tasklets[&2].stack).unwrap();
    assert_eq!((place.function.as_str(), place.line), ("f100", 7), "the hidden frame is left out");
    let end = recording.replay(recording.events.len());
    assert_eq!(end.ring(1), [2]);
    assert_eq!(end.balance(1), 0);
    assert_eq!(end.tasklets[&2].state, State::Running);
    assert_eq!(end.tasklets[&3].state, State::Ended);
}

#[test]
fn what_is_printed_in_pieces_is_one_event() {
    let mut recorder = Recorder::new(100);
    for piece in ["a", " b", "\n", "next"] {
        recorder.print(event(Kind::Output, 1, 0), piece);
    }
    recorder.print(event(Kind::Output, 2, 0), "other");
    let recording = recorder.finish(resolve);
    let texts: Vec<&str> = recording.events.iter().map(|e| recording.text(e.text)).collect();
    assert_eq!(texts, ["a b\n", "next", "other"]);
}

#[test]
fn the_format_is_read_back() {
    let recording = recorded();
    let json = recording.to_json();
    assert_eq!(Recording::from_json(&json).unwrap(), recording);
    for end in [0, 1, json.len() / 2, json.len() - 1] {
        assert!(Recording::from_json(&json[..end]).is_err());
    }
    let text = String::from_utf8(json).unwrap();
    let error =
        |from: &str, to: &str| Recording::from_json(text.replacen(from, to, 1).as_bytes()).unwrap_err();
    assert!(error("\"version\":1", "\"version\":2").contains("version 2"));
    assert!(error("stackless-recording", "something").contains("its format is"));
    assert!(error("\"stacks\":[[0,0,0,0],[0,", "\"stacks\":[[0,0,0,0],[9,").contains("stack 1 refers"));
    assert!(error("\"texts\":[\"\",", "\"texts\":[").contains("refers to what is not there"));
}

/// What can be seen of a model.
fn picture(model: &Model) -> impl PartialEq + std::fmt::Debug {
    let rings: Vec<_> = model.threads.keys().map(|&h| model.ring(h)).collect();
    let queues: Vec<_> = model
        .channels
        .iter()
        .map(|(c, about)| (*c, about.queue.clone(), about.buffer.clone(), about.label, about.settings.0 & 15))
        .collect();
    let tasklets: Vec<_> = model
        .tasklets
        .iter()
        .map(|(n, t)| {
            // The ring says which of its tasklets runs.
            let state = if t.state == State::Running { State::Runnable } else { t.state };
            (*n, t.thread, state, t.label, t.stack, t.channel, if state.is_blocked() { t.value } else { 0 })
        })
        .collect();
    (rings, queues, tasklets)
}

fn any_event() -> impl Strategy<Value = Event> {
    let fields = (0..Kind::ALL.len(), any::<u8>(), 1..3u16, 0..6u32, 0..6u32, 0..4u32, 0..2u32);
    fields.prop_map(|(kind, flags, thread, tasklet, other, place, stack)| Event {
        kind: Kind::ALL[kind],
        flags: Flags(flags & 0x8F),
        thread,
        tasklet,
        other,
        // There is only one stack.
        place: if Kind::ALL[kind] == Kind::Create { place % 2 } else { place },
        stack,
        ..Event::default()
    })
}

/// Events that do not contradict one another about threads.
fn event_of_one_thread() -> impl Strategy<Value = Event> {
    any_event().prop_map(|e| {
        let tells = !matches!(e.kind, Kind::Thread | Kind::ThreadEnd);
        Event { kind: if tells { e.kind } else { Kind::Note }, thread: 1, ..e }
    })
}

fn beginning() -> Vec<Event> {
    vec![event(Kind::Thread, 1, 0)]
}

proptest! {
    /// For any events, no tasklet is in two lists.
    #[test]
    fn any_events_leave_the_model_consistent(events in prop::collection::vec(any_event(), 0..80)) {
        let mut model = Model::default();
        for e in beginning().iter().chain(&events) {
            model.apply(e);
            let mut seen: Vec<u32> = model.threads.keys().flat_map(|&h| model.ring(h)).collect();
            seen.extend(model.channels.values().flat_map(|c| c.queue.iter().copied()));
            let count = seen.len();
            seen.sort_unstable();
            seen.dedup();
            prop_assert_eq!(seen.len(), count, "after {:?}", e);
        }
    }

    /// The model can be written as events.
    #[test]
    fn a_model_is_told_as_events(events in prop::collection::vec(event_of_one_thread(), 0..80)) {
        let mut model = Model::default();
        beginning().iter().chain(&events).for_each(|e| model.apply(e));
        model.forget_ended();
        let mut again = Model::default();
        model.as_events(0).iter().for_each(|e| again.apply(e));
        prop_assert_eq!(format!("{:?}", picture(&again)), format!("{:?}", picture(&model)));
    }

    /// A small buffer ends in the state that a large one ends in.
    #[test]
    fn what_is_dropped_is_still_known(
        events in prop::collection::vec(event_of_one_thread(), 0..300),
        limit in 16..60usize,
    ) {
        let replayed = |limit| {
            let mut recorder = Recorder::new(limit);
            // Without stacks: nonsense lets the dead have some.
            let events = events.iter().map(|e| {
                let place = if e.kind == Kind::Create { 0 } else { e.place };
                Event { stack: 0, place, ..*e }
            });
            beginning().into_iter().chain(events).for_each(|e| recorder.push(e));
            let dropped = recorder.dropped();
            let kept = recorder.len();
            let recording = recorder.finish(resolve);
            let mut model = recording.replay(recording.events.len());
            // Nonsense may mention the dead again, which brings them back as unstarted ones.
            model.tasklets.retain(|_, t| !t.state.is_over() && t.state != State::Fresh);
            (model, dropped, kept)
        };
        let (all, none, _) = replayed(1000);
        let (last, dropped, kept) = replayed(limit);
        prop_assert_eq!(none, 0);
        prop_assert!(kept <= limit);
        prop_assert_eq!(dropped as usize + kept, events.len() + 1);
        prop_assert_eq!(format!("{:?}", picture(&last)), format!("{:?}", picture(&all)));
    }

    /// Any recording survives being saved, and can be exported.
    #[test]
    fn any_recording_is_read_back(events in prop::collection::vec(any_event(), 0..60)) {
        let mut recorder = Recorder::new(1000);
        recorder.stacks.push(0, 1, 1, || ());
        beginning().into_iter().chain(events).for_each(|e| recorder.push(e));
        let recording = recorder.finish(resolve);
        prop_assert_eq!(&Recording::from_json(&recording.to_json()).unwrap(), &recording);
        recording.to_perfetto();
    }

    /// Damage is an error or another recording; never a panic.
    #[test]
    fn damaged_files_are_refused(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut json = recorded().to_json();
        let at = at.index(json.len());
        json[at] = byte;
        if let Ok(recording) = Recording::from_json(&json) {
            recording.replay(recording.events.len());
            recording.to_perfetto();
        }
    }
}
