//! Timers, in the order in which they are due.

use std::collections::BTreeMap;

/// The id of a timer that was started. After the timer was due or stopped it identifies nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct TimerId {
    at: u64,
    /// Timers for the same moment are due in the order in which they were started.
    number: u64,
}

impl TimerId {
    /// The time at which it is due.
    pub fn at(self) -> u64 {
        self.at
    }
}

/// The timers of one thread. Starting and stopping one take logarithmic time.
///
/// ```
/// let mut timers = stackless_reactor::Timers::new();
/// let late = timers.start(20, "late");
/// timers.start(10, "early");
/// assert_eq!(timers.next(), Some(10));
/// assert_eq!(timers.pop(15), Some("early"));
/// assert_eq!(timers.pop(15), None);
/// assert_eq!(timers.stop(late), Some("late"));
/// ```
#[derive(Debug)]
pub struct Timers<V> {
    running: BTreeMap<TimerId, V>,
    started: u64,
}

impl<V> Timers<V> {
    /// No timers.
    pub const fn new() -> Self {
        Self { running: BTreeMap::new(), started: 0 }
    }

    /// Starts a timer that is due at this time.
    pub fn start(&mut self, at: u64, value: V) -> TimerId {
        self.started += 1;
        let id = TimerId { at, number: self.started };
        self.running.insert(id, value);
        id
    }

    /// Stops a timer and returns its value; None if it was due or stopped before.
    pub fn stop(&mut self, id: TimerId) -> Option<V> {
        self.running.remove(&id)
    }

    /// The time at which the first timer is due.
    pub fn next(&self) -> Option<u64> {
        self.running.first_key_value().map(|(id, _)| id.at)
    }

    /// Removes the first timer that is due, and returns its value.
    pub fn pop(&mut self, now: u64) -> Option<V> {
        let first = self.running.first_entry().filter(|first| first.key().at <= now)?;
        Some(first.remove())
    }
}

impl<V> Default for Timers<V> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        Start(u64),
        Stop(usize),
        Pop(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (0..50u64).prop_map(Step::Start),
            (0..100usize).prop_map(Step::Stop),
            (0..50u64).prop_map(Step::Pop),
        ];
        prop::collection::vec(step, 0..200)
    }

    proptest! {
        /// Against a plain list that is searched.
        #[test]
        fn like_a_list(steps in steps()) {
            let (mut timers, mut list, mut ids) = (Timers::new(), Vec::new(), Vec::new());
            for (i, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Start(at) => {
                        ids.push((timers.start(at, i), i));
                        list.push((at, i));
                    }
                    Step::Stop(n) if !ids.is_empty() => {
                        let (id, value) = ids[n % ids.len()];
                        let known = list.iter().position(|(_, v)| *v == value);
                        prop_assert_eq!(timers.stop(id), known.map(|at| list.remove(at).1));
                    }
                    Step::Stop(_) => {}
                    Step::Pop(now) => {
                        let due = list.iter().copied().filter(|(at, _)| *at <= now).min();
                        list.retain(|entry| Some(*entry) != due);
                        prop_assert_eq!(timers.pop(now), due.map(|(_, value)| value));
                    }
                }
                prop_assert_eq!(timers.next(), list.iter().map(|(at, _)| *at).min());
            }
        }
    }
}
