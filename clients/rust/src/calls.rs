//! The one rule for trying again.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use crate::error::Error;

// First and longest wait between two tries; each is drawn at random from half to all of it.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(2);

/// How long to wait before the next try, and when to give up: `retry_for` after the start or the last success, or when
/// the time of the call as a whole is over.
pub(crate) struct Backoff {
    retry_for: Duration,
    limit: Option<Instant>,
    give_up: Instant,
    next: Duration,
}

impl Backoff {
    pub(crate) fn new(retry_for: Duration, limit: Option<Instant>) -> Self {
        Self { retry_for, limit, give_up: Instant::now() + retry_for, next: FIRST_BACKOFF }
    }

    /// Starts over: the server is there.
    pub(crate) fn succeeded(&mut self) {
        self.give_up = Instant::now() + self.retry_for;
        self.next = FIRST_BACKOFF;
    }

    /// What one try may take, `at_least` unless the call as a whole is to be over earlier.
    pub(crate) fn one_try(&self, at_least: Duration) -> Duration {
        match self.limit {
            Some(limit) => limit.saturating_duration_since(Instant::now()),
            None => self.give_up.saturating_duration_since(Instant::now()).max(at_least),
        }
    }

    /// Waits before another try. Gives `error` back when the time for tries is over.
    pub(crate) async fn wait(&mut self, error: Error) -> Result<(), Error> {
        let pause = self.next.mul_f64(0.5 + 0.5 * chance()).max(error.retry_after.unwrap_or_default());
        self.next = (self.next * 2).min(LONGEST_BACKOFF);
        let resume = Instant::now() + pause;
        match self.limit {
            Some(limit) if resume >= limit => {
                sleep_until(limit).await;
                Err(Error::deadline_exceeded())
            }
            _ if resume >= self.give_up => Err(error),
            _ => {
                sleep(pause).await;
                Ok(())
            }
        }
    }
}

/// A number from 0 to 1. The standard library's own source of chance is good enough to spread tries.
fn chance() -> f64 {
    RandomState::new().build_hasher().finish() as f64 / u64::MAX as f64
}
