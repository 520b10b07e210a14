//! Where a watcher stands in a session's log, over any number of connections. Pure.
//!
//! The cursor is the `seq` of the last event given out or, when only some kinds are watched, of the last one the server
//! says it has passed. An event at or before it was given out on an earlier connection.

use std::collections::VecDeque;

use tonic::Code;

use crate::error::{Error, LOG_GAP};
use crate::event::v1::watch_events_response::Message;
use crate::watch::WatchItem;

pub(crate) struct WatchCursor {
    pub(crate) session_id: String,
    /// Where to ask again after a break.
    pub(crate) seq: i64,
    /// Only some events are watched, so that a hole in the numbers is none in the log.
    pub(crate) filtered: bool,
}

impl WatchCursor {
    /// Adds to `items` what a message gives its reader, without what was given before. Fails with LOG_GAP when the log
    /// is watched whole and an event is missing.
    pub(crate) fn take(&mut self, message: Message, items: &mut VecDeque<WatchItem>) -> Result<(), Error> {
        match message {
            Message::Events(list) => {
                for event in list.events {
                    if event.seq > self.seq {
                        self.reach(event.seq, event.seq - 1)?;
                        items.push_back(WatchItem::Event(Box::new(event)));
                    }
                }
            }
            Message::CaughtUp(mark) => {
                self.reach(mark.seq, mark.seq)?;
                items.push_back(WatchItem::CaughtUp(mark));
            }
            Message::FellBehind(mark) => items.push_back(WatchItem::FellBehind(mark)),
            Message::Heartbeat(mark) => {
                self.reach(mark.sent_seq, mark.sent_seq)?;
                items.push_back(WatchItem::Heartbeat(mark));
            }
            Message::Frame(frame) => items.push_back(WatchItem::Frame(frame)),
            Message::Terminal(mark) => {
                self.reach(mark.seq, mark.seq)?;
                items.push_back(WatchItem::Terminal(mark));
            }
            // It repeats what was asked.
            Message::Hello(_) => {}
        }
        Ok(())
    }

    /// The log up to `to` is behind this watcher, who must have been given it up to `seen`.
    fn reach(&mut self, to: i64, seen: i64) -> Result<(), Error> {
        if !self.filtered && seen > self.seq {
            let message = format!("log of {}: expected seq {}, got {to}", self.session_id, self.seq + 1);
            return Err(Error::own(Code::DataLoss, LOG_GAP, message));
        }
        self.seq = self.seq.max(to);
        Ok(())
    }
}
