//! A run in which one thing is done.

use crate::call::Call;
use crate::plan::{Blow, Point};
use crate::recorder::Counter;
use crate::watcher::{Order, Watcher};

/// A run in which one thing is done.
pub struct Striker<'a> {
    point: &'a Point,
    counter: Counter,
    /// The call was met.
    pub has_struck: bool,
}

impl<'a> Striker<'a> {
    pub fn new(point: &'a Point) -> Self {
        Self {
            point,
            counter: Counter::default(),
            has_struck: false,
        }
    }
}

impl Watcher for Striker<'_> {
    fn enters(&mut self, call: &Call) -> Order {
        if self.has_struck {
            return match self.point.blow {
                Blow::FailFromThereOn(errno) if call.fits(errno) => Order::Fail(errno),
                _ => Order::Go,
            };
        }
        if self.counter.place(call) != self.point.place {
            return Order::Go;
        }
        self.has_struck = true;
        match self.point.blow {
            Blow::KillBefore => Order::KillBefore,
            Blow::KillAfter => Order::KillAfter,
            Blow::Fail(errno) | Blow::FailFromThereOn(errno) => Order::Fail(errno),
            Blow::Shorten => Order::Shorten,
        }
    }

    fn leaves(&mut self, _: usize, _: i64) {}

    fn is_done(&self) -> bool {
        self.has_struck && !matches!(self.point.blow, Blow::FailFromThereOn(_))
    }
}
