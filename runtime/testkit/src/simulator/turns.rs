//! Turns: of all threads of a simulated process exactly one goes on, and the seed says which.

use std::cell::Cell;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Thread;

use fastrand::Rng;
use hob_engine::Turns;

thread_local! {
    /// The number of this thread in its simulation; the one that drives it is 0.
    static ME: Cell<u64> = const { Cell::new(DRIVER) };
}

const DRIVER: u64 = 0;

struct Seat {
    number: u64,
    /// Known from the thread's first breath on.
    thread: Option<Thread>,
}

struct State {
    rng: Rng,
    current: u64,
    given: u64,
    seats: Vec<Seat>,
}

impl State {
    /// Gives the turn to one of the seats.
    fn choose(&mut self) {
        let at = self.rng.usize(..self.seats.len());
        let seat = &self.seats[at];
        self.current = seat.number;
        if let Some(thread) = &seat.thread {
            thread.unpark();
        }
    }
}

/// Turns in an order that a seed decides.
#[derive(Clone)]
pub(super) struct SeededTurns(Arc<Mutex<State>>);

impl SeededTurns {
    /// To be made on the thread that drives the simulation; it has the first turn.
    pub(super) fn new(seed: u64) -> Self {
        let driver = Seat { number: DRIVER, thread: Some(std::thread::current()) };
        Self(Arc::new(Mutex::new(State {
            rng: Rng::with_seed(seed),
            current: DRIVER,
            given: DRIVER,
            seats: vec![driver],
        })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self) {
        let me = ME.get();
        while self.lock().current != me {
            std::thread::park();
        }
    }
}

impl Turns for SeededTurns {
    fn cooperative(&self) -> bool {
        true
    }

    fn register(&self) -> u64 {
        let mut state = self.lock();
        state.given += 1;
        let number = state.given;
        state.seats.push(Seat { number, thread: None });
        number
    }

    fn begin(&self, thread: u64) {
        ME.set(thread);
        if let Some(seat) = self.lock().seats.iter_mut().find(|seat| seat.number == thread) {
            seat.thread = Some(std::thread::current());
        }
        self.wait();
    }

    fn pass(&self) {
        {
            let mut state = self.lock();
            if state.seats.len() == 1 {
                return;
            }
            state.choose();
        }
        self.wait();
    }

    fn end(&self) {
        let me = ME.get();
        let mut state = self.lock();
        state.seats.retain(|seat| seat.number != me);
        state.choose();
    }
}
