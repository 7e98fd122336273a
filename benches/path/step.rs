//! The steps that are counted, a function each: a profile tells functions apart, and calls what they call their cost.
//! Not here: reading the profile (`count`).

use std::hint::black_box;
use std::pin::Pin;
use std::task::{Context, Poll};

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Reading and parsing the request's head.
    Head,
    /// Source, target, rule, addresses.
    Policy,
    /// Reading, parsing and judging the ClientHello.
    Hello,
    /// The records of the decision and of the end: collecting, redacting, serialising.
    Record,
    /// Both into the log, each in a batch of its own, with a store in memory.
    Commit,
    /// The whole session as the product runs it, with metrics, timers, sockets and the relay.
    Session,
}

impl Step {
    /// All of them, in the table's order.
    pub const ALL: [Step; 6] = [Step::Head, Step::Policy, Step::Hello, Step::Record, Step::Commit, Step::Session];

    /// The row's name.
    pub fn name(self) -> &'static str {
        match self {
            Step::Head => "head",
            Step::Policy => "policy",
            Step::Hello => "hello",
            Step::Record => "record",
            Step::Commit => "commit",
            Step::Session => "session",
        }
    }

    /// What the name of the step's function has in it, however the compiler has mangled it.
    pub fn symbol(self) -> String {
        format!("counted_{}", self.name())
    }

    /// Does `work` as a part of this step.
    pub fn run<T>(self, work: impl FnOnce() -> T) -> T {
        let (mut work, mut made) = (Some(work), None);
        let mut once = || made = work.take().map(|work| work());
        match self {
            Step::Head => counted_head(&mut once),
            Step::Policy => counted_policy(&mut once),
            Step::Hello => counted_hello(&mut once),
            Step::Record => counted_record(&mut once),
            Step::Commit => counted_commit(&mut once),
            Step::Session => counted_session(&mut once),
        }
        made.expect("the step has been run")
    }

    /// Does `work` as a part of this step, not what the runtime does while it waits.
    pub fn poll<F: Future>(self, work: F) -> Counted<F> {
        Counted { step: self, work: Box::pin(work) }
    }
}

/// A future whose polls are counted.
pub struct Counted<F> {
    step: Step,
    work: Pin<Box<F>>,
}

impl<F: Future> Future for Counted<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let step = self.step;
        step.run(|| self.work.as_mut().poll(cx))
    }
}

// Each has a body of its own, or else the linker would make one of them all.

#[inline(never)]
fn counted_head(work: &mut dyn FnMut()) {
    work();
    black_box(Step::Head);
}

#[inline(never)]
fn counted_policy(work: &mut dyn FnMut()) {
    work();
    black_box(Step::Policy);
}

#[inline(never)]
fn counted_hello(work: &mut dyn FnMut()) {
    work();
    black_box(Step::Hello);
}

#[inline(never)]
fn counted_record(work: &mut dyn FnMut()) {
    work();
    black_box(Step::Record);
}

#[inline(never)]
fn counted_commit(work: &mut dyn FnMut()) {
    work();
    black_box(Step::Commit);
}

#[inline(never)]
fn counted_session(work: &mut dyn FnMut()) {
    work();
    black_box(Step::Session);
}
