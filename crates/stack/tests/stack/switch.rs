//! Leaving one stack for another, and coming back.

use crate::fiber::{Fiber, Here};
use crate::{peek, poke, put, stacks, together};
use stackless_stack::{ARCH, StackError, prefetch};
use std::cell::{Cell, RefCell};
use std::hint::black_box;
use std::rc::Rc;

/// What was on both stacks before a switch is there after it, in the order one would think.
#[test]
fn there_and_back_again() {
    let _together = together();
    let log = Rc::new(RefCell::new(Vec::new()));
    let inside = log.clone();
    let fiber = Fiber::new(&stacks(), move |here| {
        let mine = String::from("inside");
        for turn in 0..3 {
            inside.borrow_mut().push(format!("{mine} {turn}"));
            here.suspend();
        }
    })
    .unwrap();
    for turn in 0.. {
        if !fiber.resume() {
            break;
        }
        log.borrow_mut().push(format!("outside {turn}"));
    }
    assert_eq!(log.borrow().join(", "), "inside 0, outside 0, inside 1, outside 1, inside 2, outside 2");
}

/// What runs on a stack has its local variables just below the slot's top, and leaves the room above
/// it alone.
#[test]
fn a_stack_begins_at_its_top() {
    let _together = together();
    let at = Rc::new(Cell::new(0));
    let inside = at.clone();
    let fiber = Fiber::new(&stacks(), move |here| inside.set((&raw const here).addr())).unwrap();
    let room = 0..fiber.slot().room() as isize;
    room.clone().for_each(|offset| poke(fiber.slot(), offset, 0x5a));
    assert!(!fiber.resume());
    assert!(room.clone().all(|offset| peek(fiber.slot(), offset) == 0x5a));
    room.for_each(|offset| poke(fiber.slot(), offset, 0));
    let top = fiber.slot().top().addr();
    assert!((top - 4096..top).contains(&at.get()), "{:#x} is not near {top:#x}", at.get());
}

/// Many integers and floating-point numbers are alive across switches on both sides. (In an optimised
/// build, in registers: the switches are inlined here.)
#[test]
fn live_values_survive() {
    #[inline(never)]
    fn work(seed: u64, pause: impl Fn()) -> (u64, f64) {
        let mut whole: [u64; 8] = std::array::from_fn(|i| seed + i as u64);
        let mut real: [f64; 8] = std::array::from_fn(|i| seed as f64 + i as f64 / 4.0);
        for turn in 0..100 {
            pause();
            whole = whole.map(|x| x.rotate_left(7) ^ turn);
            real = real.map(|x| x * 0.75 + turn as f64);
        }
        (black_box(whole).iter().fold(0, |sum, x| sum ^ x), black_box(real).iter().sum())
    }
    let _together = together();
    let expected = |seed| work(seed, || {});
    let result = Rc::new(Cell::new((0, 0.0)));
    let inside = result.clone();
    let fiber = Fiber::new(&stacks(), move |here| inside.set(work(1_000, || here.suspend()))).unwrap();
    let outside = work(77, || assert!(fiber.resume()));
    assert!(!fiber.resume());
    assert_eq!((outside, result.get()), (expected(77), expected(1_000)));
}

/// A hundred thousand switches lose nothing.
#[test]
fn a_hundred_thousand_switches() {
    let _together = together();
    let sum = Rc::new(Cell::new(0_u64));
    let inside = sum.clone();
    let fiber = Fiber::new(&stacks(), move |here| {
        for i in 0..50_000 {
            inside.set(inside.get() + i);
            here.suspend();
        }
    })
    .unwrap();
    let mut turns = 0;
    while fiber.resume() {
        turns += 1;
    }
    assert_eq!((turns, sum.get()), (50_000, 49_999 * 50_000 / 2));
}

/// Switching is symmetric: a ring of stacks hands over from each to the next, through no hub.
#[test]
fn round_a_ring_of_stacks() {
    const FIBERS: usize = 5;
    const ROUNDS: usize = 1_000;
    let _together = together();
    let stacks = stacks();
    let log = Rc::new(RefCell::new(Vec::new()));
    let ring = Rc::new(RefCell::new(Vec::<Rc<Fiber>>::new()));
    for number in 0..FIBERS {
        let (log, others) = (log.clone(), ring.clone());
        let body = move |here: Here| {
            for _ in 0..ROUNDS {
                log.borrow_mut().push(number);
                let next = others.borrow()[(number + 1) % FIBERS].clone();
                here.hand_over_to(&next);
            }
        };
        let fiber = Rc::new(Fiber::new(&stacks, body).unwrap());
        ring.borrow_mut().push(fiber);
    }
    let all = ring.borrow().clone();
    // The first one ends when it is entered after its last round; then each of the others does.
    for fiber in &all {
        assert!(!fiber.resume());
    }
    let expected: Vec<_> = (0..ROUNDS * FIBERS).map(|i| i % FIBERS).collect();
    assert_eq!(*log.borrow(), expected);
    ring.borrow_mut().clear();
}

/// Ten thousand stacks at once, each with its own data, suspended in an order and resumed in another.
#[test]
fn ten_thousand_stacks() {
    let _together = together();
    let (stacks, sum) = (stacks(), Rc::new(Cell::new(0)));
    let mut fibers = Vec::new();
    for number in 0..10_000_usize {
        let sum = sum.clone();
        let made = Fiber::new(&stacks, move |here| {
            let mine = black_box([number; 8]);
            here.suspend();
            here.suspend();
            assert!(mine.iter().all(|&x| x == number));
            sum.set(sum.get() + mine[0]);
        });
        match made {
            Ok(fiber) => fibers.push(fiber),
            Err(StackError::Mappings) => {
                eprintln!("SKIPPED beyond {number} stacks: {}", StackError::Mappings);
                break;
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(fibers.iter().all(Fiber::resume));
    assert!(fibers.iter().rev().all(Fiber::resume));
    assert!(!fibers.iter().any(Fiber::resume));
    assert_eq!(sum.get(), (0..fibers.len()).sum());
}

/// A panic is caught on the stack where it happens, after its destructors ran there.
#[test]
fn unwinding_on_a_stack() {
    struct Notes(Rc<Cell<bool>>);
    impl Drop for Notes {
        fn drop(&mut self) {
            self.0.set(true);
        }
    }
    let _together = together();
    let dropped = Rc::new(Cell::new(false));
    let inside = dropped.clone();
    let fiber = Fiber::new(&stacks(), move |here| {
        let _notes = Notes(inside);
        here.suspend();
        std::panic::resume_unwind(Box::new("on purpose"));
    })
    .unwrap();
    assert!(fiber.resume() && !dropped.get());
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| fiber.resume()));
    assert_eq!(caught.unwrap_err().downcast_ref::<&str>(), Some(&"on purpose"));
    assert!(dropped.get());
}

/// A walk over the frames of a stack ends where the stack begins, whatever lies above.
#[test]
fn a_backtrace_ends() {
    let _together = together();
    let stacks = stacks();
    let slot = stacks.borrow_mut().get().unwrap();
    for word in 1..=8 {
        let lure = (there_and_back_again as *const ()).wrapping_byte_add(8).addr();
        // SAFETY: the stack is ours for now, and words below its top are aligned.
        unsafe { slot.top().cast::<usize>().sub(word).write(lure) };
    }
    put(&mut stacks.borrow_mut(), slot);
    let text = Rc::new(RefCell::new(String::new()));
    let inside = text.clone();
    let fiber = Fiber::new(&stacks, move |_| {
        *inside.borrow_mut() = std::backtrace::Backtrace::force_capture().to_string();
    })
    .unwrap();
    assert!(!fiber.resume());
    let text = text.borrow();
    assert!(text.contains("fiber::begin"), "{text}");
    assert!(!text.contains("there_and_back_again"), "it went beyond the beginning: {text}");
    assert!(!text.contains("a_backtrace_ends\n"), "it went on to the stack outside: {text}");
}

/// Prefetching is a hint: no address is a wrong one.
#[test]
fn prefetch_takes_any_address() {
    for at in [0, 1, 0xdead_beef, usize::MAX] {
        prefetch::<8>(std::ptr::without_provenance(at));
    }
    assert_eq!(ARCH, std::env::consts::ARCH);
}

/// The registers that a called function must preserve hold what they held, on both sides. Compiled
/// code may happen not to use them, so this one sets and compares them itself.
#[cfg(target_arch = "x86_64")]
mod registers {
    use super::*;
    use std::arch::naked_asm;

    /// Fills rbx, rbp, r12 to r15 with `seed` and the numbers after it, calls `call(argument)`, and
    /// returns 0 if all six are as they were.
    #[unsafe(naked)]
    extern "C" fn keep(call: extern "C" fn(*const u8), argument: *const u8, seed: usize) -> usize {
        naked_asm!(
            "push rbx",
            "push rbp",
            "push r12",
            "push r13",
            "push r14",
            "push r15",
            "push rdx",
            "mov rbx, rdx",
            "lea rbp, [rdx + 1]",
            "lea r12, [rdx + 2]",
            "lea r13, [rdx + 3]",
            "lea r14, [rdx + 4]",
            "lea r15, [rdx + 5]",
            "mov rax, rdi",
            "mov rdi, rsi",
            "call rax",
            "pop rdx",
            "xor eax, eax",
            "sub rbx, rdx",
            "or rax, rbx",
            "lea rcx, [rdx + 1]",
            "sub rbp, rcx",
            "or rax, rbp",
            "lea rcx, [rdx + 2]",
            "sub r12, rcx",
            "or rax, r12",
            "lea rcx, [rdx + 3]",
            "sub r13, rcx",
            "or rax, r13",
            "lea rcx, [rdx + 4]",
            "sub r14, rcx",
            "or rax, r14",
            "lea rcx, [rdx + 5]",
            "sub r15, rcx",
            "or rax, r15",
            "pop r15",
            "pop r14",
            "pop r13",
            "pop r12",
            "pop rbp",
            "pop rbx",
            "ret",
        )
    }

    extern "C" fn suspend(here: *const u8) {
        // SAFETY: the test passes a `Here`.
        unsafe { *here.cast::<Here>() }.suspend();
    }

    extern "C" fn resume(fiber: *const u8) {
        // SAFETY: the test passes a `Fiber`.
        assert!(unsafe { &*fiber.cast::<Fiber>() }.resume());
    }

    /// See above.
    #[test]
    fn preserved_registers_survive() {
        let _together = together();
        let fiber = Fiber::new(&stacks(), |here| {
            for turn in 0..10 {
                assert_eq!(keep(suspend, (&raw const here).cast(), 1_000 * turn), 0);
            }
        })
        .unwrap();
        for turn in 0..10 {
            assert_eq!(keep(resume, (&raw const fiber).cast(), usize::MAX - 100 * turn), 0);
        }
        assert!(!fiber.resume());
    }
}
