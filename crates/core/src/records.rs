//! The records of tasklets, channels and threads, their ids, and the vectors that hold them.
//!
//! This file says what is stored. What may be done with it is in `ring`, `channel` and `watchdog`.

/// No record: the end of a list, or a field that holds nothing.
pub(crate) const NONE: u32 = u32::MAX;

/// A tasklet's id, valid from [`World::add_tasklet`] to [`World::forget_tasklet`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct TaskletId(pub(crate) u32);

/// A channel's id, valid from [`World::add_channel`] to [`World::forget_channel`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct ChannelId(pub(crate) u32);

/// A thread's id, valid from [`World::add_thread`] to [`World::forget_thread`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct ThreadId(pub(crate) u32);

impl TaskletId {
    /// The tasklet's index: a small number, used again after the tasklet's end.
    #[inline(always)]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl ChannelId {
    /// The channel's index: a small number, used again after the channel's end.
    #[inline(always)]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl ThreadId {
    /// The id of no thread.
    pub const NONE: Self = Self(NONE);
}

/// The tasklet with this index, None for [`NONE`].
#[inline(always)]
pub(crate) fn tasklet_at(index: u32) -> Option<TaskletId> {
    (index != NONE).then_some(TaskletId(index))
}

/// What a tasklet in a channel's queue waits to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WaitsTo {
    Send,
    Receive,
    /// To receive, inside an iteration over the channel: `close()` ends the iteration.
    Iterate,
    /// To send or to receive, whatever comes first: one that waits in several queues may do so. No other tasklet waits
    /// in this queue, since it would have met this one.
    Either,
}

/// Which list a tasklet is linked in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Membership {
    /// In none: never started, paused, inside `run()`, or ended.
    None,
    /// In its thread's ring.
    Ring,
    /// In a channel's queue.
    Queue(ChannelId, WaitsTo),
    /// In several queues, by its *places*: records that stand for it there, in a list that begins with its `place`.
    Places,
    /// There is no such tasklet: the record is free.
    Free,
}

pub(crate) struct TaskletRecord<P> {
    pub(crate) next: u32,
    pub(crate) prev: u32,
    pub(crate) list: Membership,
    /// The owner, NONE once that thread has ended.
    pub(crate) thread: u32,
    /// The next place of the same tasklet; the tasklet itself after the last one. NONE for a tasklet without places.
    pub(crate) place: u32,
    pub(crate) payload: P,
}

pub(crate) struct ChannelRecord<C> {
    pub(crate) head: u32,
    pub(crate) tail: u32,
    /// n senders wait, those of the values in the buffer included: +n; n receivers wait: -n.
    pub(crate) balance: i32,
    /// A receiver meets the first waiting sender if the balance is above this: 0, or the largest number in a channel
    /// with a buffer, where receivers take from the buffer.
    pub(crate) meets_above: i32,
    pub(crate) preference: i8,
    pub(crate) schedule_all: bool,
    pub(crate) closing: bool,
    /// True if waiting in its queue needs no other look at it: it is open, has no buffer, and no tasklet waits in it to
    /// do [either](WaitsTo::Either).
    pub(crate) plain: bool,
    /// True if a tasklet waits to do either.
    pub(crate) either: bool,
    /// The maximum number of values in the buffer, and the number of those that are there.
    pub(crate) capacity: u32,
    pub(crate) buffered: u32,
    pub(crate) payload: C,
}

pub(crate) struct ThreadRecord<H> {
    /// The ring's running tasklet, NONE while no tasklet of this thread can run.
    pub(crate) head: u32,
    pub(crate) count: u32,
    /// NONE in a free record.
    pub(crate) main: u32,
    /// The tasklets inside `run()`, outermost first.
    pub(crate) watchdogs: Vec<Watchdog>,
    /// The limit of the outermost `run()` that has one.
    pub(crate) timer: Option<RunTimer>,
    pub(crate) payload: H,
}

/// A tasklet inside `run()`.
#[derive(Clone, Copy)]
pub(crate) struct Watchdog {
    pub(crate) tasklet: u32,
    /// True if an empty ring means waiting for other threads.
    pub(crate) waits: bool,
}

/// What ends a `run()` before its ring is empty.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RunLimit {
    /// The maximum number of ticks, counted ...
    pub ticks: u64,
    /// ... from the beginning of the `run()` if this is true, else from the last switch.
    pub total: bool,
    /// The maximum number of switches from one tasklet to another.
    pub turns: u64,
    /// True if no tasklet is stopped in the middle: the `run()` returns at the next switch.
    pub soft: bool,
}

impl RunLimit {
    /// No limit: a value to begin from.
    pub const NONE: Self = Self { ticks: u64::MAX, total: false, turns: u64::MAX, soft: false };
}

/// The limit in force in a thread, and how much of it is left.
pub(crate) struct RunTimer {
    pub(crate) owner: u32,
    pub(crate) limit: RunLimit,
    pub(crate) ticks_left: u64,
    pub(crate) turns_left: u64,
    pub(crate) expired: bool,
}

/// Every tasklet, channel and thread of a process. `P` is what the caller wants back for a
/// tasklet's id, `C` for a channel's, and `H` for a thread's: pointers to their objects, usually.
pub struct World<P, C, H = ()> {
    pub(crate) tasklets: Slots<TaskletRecord<P>>,
    pub(crate) channels: Slots<ChannelRecord<C>>,
    pub(crate) threads: Slots<ThreadRecord<H>>,
    /// The number of places of tasklets, whose records are among those of the tasklets.
    pub(crate) places: usize,
}

/// A kind of record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecordKind {
    Tasklet,
    Channel,
    Thread,
}

impl<P: Copy, C: Copy, H: Copy> World<P, C, H> {
    /// An empty world.
    pub const fn new() -> Self {
        Self { tasklets: Slots::new(), channels: Slots::new(), threads: Slots::new(), places: 0 }
    }

    /// True if a record is a place of a tasklet and not a tasklet.
    #[inline(always)]
    pub(crate) fn is_place(record: &TaskletRecord<P>) -> bool {
        record.place != NONE && record.list != Membership::Places
    }

    /// Allocates memory for this many places of a tasklet, and for their removal. False if there is none.
    #[must_use]
    pub fn make_room_for_places(&mut self, count: usize) -> bool {
        self.tasklets.make_room_for(count)
    }

    /// True if there are this many free records of tasklets: no memory is needed for places in so many queues.
    #[inline(always)]
    #[must_use]
    pub fn has_room_for_places(&self, count: usize) -> bool {
        self.tasklets.free.len() >= count
    }

    /// True if there is memory for one more record of this kind.
    #[inline(always)]
    #[must_use]
    pub fn has_room(&self, kind: RecordKind) -> bool {
        match kind {
            RecordKind::Tasklet => self.tasklets.has_room(),
            RecordKind::Channel => self.channels.has_room(),
            RecordKind::Thread => self.threads.has_room(),
        }
    }

    /// Allocates memory for one more record of this kind, and for its removal. False if there is none.
    #[cold]
    #[must_use]
    pub fn make_room(&mut self, kind: RecordKind) -> bool {
        match kind {
            RecordKind::Tasklet => self.tasklets.make_room(),
            RecordKind::Channel => self.channels.make_room(),
            RecordKind::Thread => self.threads.make_room(),
        }
    }

    /// A new tasklet of `thread`, in no list.
    pub fn add_tasklet(&mut self, thread: Option<ThreadId>, payload: P) -> TaskletId {
        let thread = thread.map_or(NONE, |h| h.0);
        let list = Membership::None;
        let record = TaskletRecord { next: NONE, prev: NONE, list, thread, place: NONE, payload };
        TaskletId(self.tasklets.insert(record))
    }

    /// Drops the record of a tasklet that is in no list.
    pub fn forget_tasklet(&mut self, t: TaskletId) {
        debug_assert_eq!(self.tasklets[t.0].list, Membership::None);
        self.tasklets[t.0].list = Membership::Free;
        self.tasklets.remove(t.0);
    }

    /// A new channel: open, without a buffer, preferring the receiver.
    pub fn add_channel(&mut self, payload: C) -> ChannelId {
        ChannelId(self.channels.insert(ChannelRecord {
            head: NONE,
            tail: NONE,
            balance: 0,
            meets_above: 0,
            preference: -1,
            schedule_all: false,
            closing: false,
            plain: true,
            either: false,
            capacity: 0,
            buffered: 0,
            payload,
        }))
    }

    /// Drops the record of a channel whose queue and buffer are empty.
    pub fn forget_channel(&mut self, c: ChannelId) {
        debug_assert_eq!(self.channels[c.0].balance, 0);
        self.channels.remove(c.0);
    }

    /// Every tasklet that belongs to a thread, whatever list it is in.
    pub fn tasklets_of(&self, h: ThreadId) -> Vec<TaskletId> {
        self.all().filter(|(_, record)| record.thread == h.0).map(|(t, _)| t).collect()
    }

    /// Every tasklet there is.
    pub fn tasklets(&self) -> Vec<TaskletId> {
        self.all().map(|(t, _)| t).collect()
    }

    fn all(&self) -> impl Iterator<Item = (TaskletId, &TaskletRecord<P>)> {
        let all = self.tasklets.items.iter().enumerate().map(|(i, record)| (TaskletId(i as u32), record));
        all.filter(|(_, record)| record.list != Membership::Free && !Self::is_place(record))
    }

    /// The first tasklet whose index is `index` or above.
    pub fn tasklet_from(&self, index: usize) -> Option<TaskletId> {
        let rest = self.tasklets.items.get(index..)?;
        let is_one = |record: &TaskletRecord<P>| record.list != Membership::Free && !Self::is_place(record);
        let at = rest.iter().position(is_one)?;
        Some(TaskletId((index + at) as u32))
    }

    /// A number above the indices of all tasklets there are.
    pub fn tasklet_end(&self) -> usize {
        self.tasklets.items.len()
    }

    /// True if a tasklet of this thread waits in a channel's queue, or in several.
    pub fn any_blocked(&self, h: ThreadId) -> bool {
        self.tasklets.items.iter().any(|r| r.thread == h.0 && matches!(r.list, Membership::Queue(..)))
    }

    /// The number of tasklets.
    pub fn tasklet_count(&self) -> usize {
        self.tasklets.len() - self.places
    }

    /// The number of threads.
    pub fn thread_count(&self) -> usize {
        self.threads.len()
    }

    /// Every channel in which tasklets wait.
    pub fn channels_in_use(&self) -> Vec<ChannelId> {
        let all = self.channels.items.iter().enumerate();
        all.filter(|(_, channel)| channel.head != NONE).map(|(i, _)| ChannelId(i as u32)).collect()
    }

    /// Every channel whose buffer is not empty.
    pub fn channels_with_values(&self) -> Vec<ChannelId> {
        let all = self.channels.items.iter().enumerate();
        all.filter(|(_, channel)| channel.buffered != 0).map(|(i, _)| ChannelId(i as u32)).collect()
    }

    /// What the caller stored for this tasklet.
    #[inline(always)]
    pub fn payload(&self, t: TaskletId) -> P {
        self.tasklets[t.0].payload
    }

    /// What the caller stored for this channel.
    pub fn channel_payload(&self, c: ChannelId) -> C {
        self.channels[c.0].payload
    }

    /// What the caller stored for this thread.
    #[inline(always)]
    pub fn thread_payload(&self, h: ThreadId) -> H {
        self.threads[h.0].payload
    }

    /// What the caller stored for each thread there is.
    pub fn threads(&self) -> impl Iterator<Item = H> {
        self.threads.items.iter().filter(|thread| thread.main != NONE).map(|thread| thread.payload)
    }

    /// True if a tasklet belongs to this thread.
    #[inline(always)]
    pub fn is_of(&self, t: TaskletId, h: ThreadId) -> bool {
        self.tasklets[t.0].thread == h.0
    }

    /// The thread a tasklet belongs to, None once that has ended.
    #[inline(always)]
    pub fn thread_of(&self, t: TaskletId) -> Option<ThreadId> {
        let h = self.tasklets[t.0].thread;
        (h != NONE).then_some(ThreadId(h))
    }

    /// Gives a tasklet that is in no ring, and has no places, to another thread, or to none.
    pub fn set_thread(&mut self, t: TaskletId, h: ThreadId) {
        debug_assert_ne!(self.tasklets[t.0].list, Membership::Ring);
        self.tasklets[t.0].thread = h.0;
    }

    /// True if it is in a list (a ring or a queue).
    #[inline(always)]
    pub fn is_linked(&self, t: TaskletId) -> bool {
        !matches!(self.tasklets[t.0].list, Membership::None | Membership::Free)
    }

    /// True if it is in its thread's ring.
    #[inline(always)]
    pub fn in_ring(&self, t: TaskletId) -> bool {
        self.tasklets[t.0].list == Membership::Ring
    }

    /// The neighbour to the right in its list. A ring has no end; a queue ends with None.
    pub fn next(&self, t: TaskletId) -> Option<TaskletId> {
        tasklet_at(self.tasklets[t.0].next)
    }

    /// The neighbour to the left in its list.
    pub fn prev(&self, t: TaskletId) -> Option<TaskletId> {
        tasklet_at(self.tasklets[t.0].prev)
    }
}

impl<P: Copy, C: Copy, H: Copy> Default for World<P, C, H> {
    fn default() -> Self {
        Self::new()
    }
}

/// A vector whose freed slots are used again, the last freed first.
pub(crate) struct Slots<T> {
    pub(crate) items: Vec<T>,
    free: Vec<u32>,
}

impl<T> Slots<T> {
    const fn new() -> Self {
        Self { items: Vec::new(), free: Vec::new() }
    }

    /// The number of records in use.
    fn len(&self) -> usize {
        self.items.len() - self.free.len()
    }

    /// True if neither an insertion nor the removal that follows it needs memory.
    #[inline(always)]
    fn has_room(&self) -> bool {
        !self.free.is_empty() || self.items.len() < self.items.capacity().min(self.free.capacity())
    }

    fn make_room(&mut self) -> bool {
        self.has_room() || self.make_room_for(1)
    }

    fn make_room_for(&mut self, count: usize) -> bool {
        let more = count.saturating_sub(self.free.len());
        if more == 0 {
            return true;
        }
        self.items.len() + more <= NONE as usize
            && self.items.try_reserve(more).is_ok()
            && self.free.try_reserve(self.items.capacity() - self.free.len()).is_ok()
    }

    pub(crate) fn insert(&mut self, item: T) -> u32 {
        if let Some(index) = self.free.pop() {
            self.items[index as usize] = item;
            return index;
        }
        assert!(self.items.len() < NONE as usize, "more than 2^32 - 1 records");
        self.items.push(item);
        (self.items.len() - 1) as u32
    }

    /// Marks a slot as free. Its old content stays there until the slot is used again.
    pub(crate) fn remove(&mut self, index: u32) {
        self.free.push(index);
    }
}

impl<T> std::ops::Index<u32> for Slots<T> {
    type Output = T;
    #[inline(always)]
    fn index(&self, index: u32) -> &T {
        &self.items[index as usize]
    }
}

impl<T> std::ops::IndexMut<u32> for Slots<T> {
    #[inline(always)]
    fn index_mut(&mut self, index: u32) -> &mut T {
        &mut self.items[index as usize]
    }
}
