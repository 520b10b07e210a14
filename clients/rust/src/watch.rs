//! A session's log as it grows: one sequence of items over any number of connections.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};
use tonic::{Code, Streaming};

use crate::calls::Backoff;
use crate::client::Milepost;
use crate::error::Error;
use crate::event::v1::{
    CaughtUp, Event, FellBehind, Frame, Heartbeat, Terminal, WatchEventsRequest, WatchEventsResponse,
};
use crate::watch_cursor::WatchCursor;

/// What a watch gives out. The last item is `Terminal`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum WatchItem {
    /// An event of the log. Each is given out once, in order.
    Event(Box<Event>),
    /// Everything stored so far was given out; what follows is live. May come again after a broken connection.
    CaughtUp(CaughtUp),
    /// This watcher was too slow for live and is served from history again; nothing is skipped.
    FellBehind(FellBehind),
    /// Nothing is lost, however quiet it is.
    Heartbeat(Heartbeat),
    /// Vehicle positions, where they were asked for. Lossy on purpose.
    Frame(Frame),
    /// The session has ended and its whole log was given out.
    Terminal(Terminal),
}

/// A session's log as it grows.
///
/// After a break, a silence or a restart of the server it asks again from the last event it gave out, so its reader
/// sees every event once and in order. Drop it to stop.
pub struct Watch {
    client: Milepost,
    request: WatchEventsRequest,
    cursor: WatchCursor,
    backoff: Backoff,
    silence: Duration,
    limit: Option<Instant>,
    stream: Option<Streaming<WatchEventsResponse>>,
    items: VecDeque<WatchItem>,
    ended: bool,
    connections: u32,
}

impl Watch {
    pub(crate) fn new(
        client: Milepost,
        request: WatchEventsRequest,
        backoff: Backoff,
        silence: Duration,
        limit: Option<Instant>,
    ) -> Self {
        let cursor = WatchCursor {
            session_id: request.session_id.clone(),
            seq: request.after_seq,
            filtered: !request.kinds.is_empty() || !request.phases.is_empty(),
        };
        Self {
            client,
            request,
            cursor,
            backoff,
            silence,
            limit,
            stream: None,
            items: VecDeque::new(),
            ended: false,
            connections: 0,
        }
    }

    /// Waits for the next item; `None` after the last. Nothing is lost when this future is dropped and called again.
    ///
    /// Errors: the refusal of a server, or the last break once nothing was heard for `retry_for`.
    pub async fn next(&mut self) -> Result<Option<WatchItem>, Error> {
        loop {
            if let Some(item) = self.items.pop_front() {
                // From now on, not from when it came: a slow reader is no silent server.
                self.backoff.succeeded();
                return Ok(Some(item));
            }
            if self.ended {
                return Ok(None);
            }
            let received = match self.limit {
                None => self.receive().await,
                Some(limit) => {
                    timeout_at(limit, self.receive()).await.unwrap_or_else(|_| Err(Error::deadline_exceeded()))
                }
            };
            if let Err(error) = received {
                self.ended = self.items.is_empty();
                self.stream = None;
                return Err(error);
            }
        }
    }

    /// How often it has connected anew.
    pub fn reconnects(&self) -> u32 {
        self.connections.saturating_sub(1)
    }

    /// Takes one message in, or mends the connection.
    async fn receive(&mut self) -> Result<(), Error> {
        let error = match timeout(self.silence, self.message()).await {
            Ok(Ok(Some(message))) => {
                self.backoff.succeeded();
                return self.take(message);
            }
            Ok(Ok(None)) => Error::unreachable("the stream ended before its last message".into()),
            Ok(Err(error)) => error,
            Err(_) => Error::unreachable(format!("nothing was heard for {} s", self.silence.as_secs())),
        };
        self.stream = None;
        if error.code != Code::Unavailable {
            return Err(error);
        }
        self.backoff.wait(error).await
    }

    async fn message(&mut self) -> Result<Option<WatchEventsResponse>, Error> {
        if self.stream.is_none() {
            self.connections += 1;
            let request = WatchEventsRequest { after_seq: self.cursor.seq, ..self.request.clone() };
            self.stream = Some(self.client.events().watch_events(request).await?.into_inner());
        }
        match &mut self.stream {
            Some(stream) => Ok(stream.message().await?),
            None => Ok(None),
        }
    }

    fn take(&mut self, message: WatchEventsResponse) -> Result<(), Error> {
        // A message of a later version is no business of this one.
        if let Some(message) = message.message {
            self.cursor.take(message, &mut self.items)?;
        }
        self.ended = matches!(self.items.back(), Some(WatchItem::Terminal(_)));
        Ok(())
    }
}

/// All of a session's log.
impl From<&str> for WatchEventsRequest {
    fn from(session_id: &str) -> Self {
        Self { session_id: session_id.to_owned(), ..Default::default() }
    }
}

/// All of a session's log.
impl From<&String> for WatchEventsRequest {
    fn from(session_id: &String) -> Self {
        Self::from(session_id.as_str())
    }
}
