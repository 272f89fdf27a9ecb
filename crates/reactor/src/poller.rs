//! Which descriptors are ready.
//!
//! A descriptor is registered once and edge-triggered: the system reports that something has *become*
//! possible. The caller remembers that until a system call says that it is not possible any more.

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token, Waker};
use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

/// The token of the [`Bell`]; the tokens of descriptors are their numbers.
const BELL: Token = Token(usize::MAX);

/// The maximum number of descriptors that one wait reports; the next wait reports the others.
const MAXIMUM: usize = 1024;

/// What has happened to a descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ready {
    pub descriptor: RawFd,
    /// True if data, the end or an error can be read.
    pub readable: bool,
    /// True if a read that gets less than it asks for may have left something: at the end of the data, and from urgent
    /// data on, where a read stops.
    pub ended: bool,
    /// True if data can be written, or a write fails.
    pub writable: bool,
}

/// Waits for descriptors on behalf of one thread.
pub struct Poller {
    poll: Poll,
    events: Events,
}

/// Adds and removes descriptors, and ends the poller's wait. Usable in any thread.
pub struct Bell {
    registry: Registry,
    waker: Waker,
}

impl Poller {
    /// A poller that watches nothing yet, and its bell.
    ///
    /// # Errors
    /// Those of the system: no more descriptors, no more memory.
    pub fn new() -> io::Result<(Self, Bell)> {
        let poll = Poll::new()?;
        let bell = Bell { registry: poll.registry().try_clone()?, waker: Waker::new(poll.registry(), BELL)? };
        Ok((Self { poll, events: Events::with_capacity(MAXIMUM) }, bell))
    }

    /// Waits at most `time` (`None`: without a limit) until a descriptor is ready or the bell rings. True if one
    /// of these happened; a signal ends the wait as well.
    ///
    /// # Errors
    /// Those of the system, but for the interruption by a signal.
    pub fn wait(&mut self, time: Option<Duration>) -> io::Result<bool> {
        match self.poll.poll(&mut self.events, time) {
            Ok(()) => Ok(!self.events.is_empty()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                self.events.clear();
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// The descriptors that the last wait has found.
    pub fn found(&self) -> impl Iterator<Item = Ready> {
        self.events.iter().filter(|event| event.token() != BELL).map(|event| {
            let failed = event.is_error();
            Ready {
                descriptor: event.token().0 as RawFd,
                readable: event.is_readable() || event.is_read_closed() || failed,
                ended: event.is_read_closed() || event.is_priority() || failed,
                writable: event.is_writable() || event.is_write_closed() || failed,
            }
        })
    }
}

impl Bell {
    /// Watches a descriptor, in both directions. If it is watched already, it is registered again: then
    /// everything that is possible now is reported once more.
    ///
    /// # Errors
    /// Those of the system: no such descriptor, or not one that can be watched (a file).
    pub fn add(&self, descriptor: RawFd) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE | Interest::PRIORITY;
        let (mut source, token) = (SourceFd(&descriptor), Token(descriptor as usize));
        match self.registry.register(&mut source, token, both) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.registry.reregister(&mut source, token, both)
            }
            result => result,
        }
    }

    /// Stops watching a descriptor. It may be closed already.
    pub fn remove(&self, descriptor: RawFd) {
        let _closed_already = self.registry.deregister(&mut SourceFd(&descriptor));
    }

    /// Ends the poller's wait, or its next one.
    ///
    /// # Errors
    /// Those of the system.
    pub fn ring(&self) -> io::Result<()> {
        self.waker.wake()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    fn ready(poller: &mut Poller) -> Vec<Ready> {
        poller.wait(Some(Duration::ZERO)).expect("polls");
        poller.found().collect()
    }

    #[test]
    fn tells_once_what_becomes_possible() {
        let (mut poller, bell) = Poller::new().expect("a poller");
        let (mut near, mut far) = UnixStream::pair().expect("a pair");
        let descriptor = near.as_raw_fd();
        bell.add(descriptor).expect("added");
        assert_eq!(ready(&mut poller), [Ready { descriptor, readable: false, ended: false, writable: true }]);
        assert_eq!(ready(&mut poller), []);
        far.write_all(b"x").expect("written");
        assert!(ready(&mut poller)[0].readable);
        assert_eq!(ready(&mut poller), [], "although nobody has read it");
        bell.add(descriptor).expect("added again");
        assert!(ready(&mut poller)[0].readable, "still");
        near.read_exact(&mut [0]).expect("read");
        drop(far);
        assert!(ready(&mut poller)[0].readable, "the end");
        bell.remove(descriptor);
        bell.remove(descriptor);
    }

    #[test]
    fn bell_ends_a_wait() {
        let (mut poller, bell) = Poller::new().expect("a poller");
        std::thread::scope(|scope| {
            scope.spawn(|| bell.ring().expect("rung"));
            assert!(poller.wait(None).expect("woken"));
        });
        assert_eq!(poller.found().count(), 0);
    }
}
