//! A client of Milepost: SUMO, the traffic simulator, as a durable service.
//!
//! [`Milepost`] is the client; the modules of nouns ([`session`], [`event`], [`scenario`] …) are the contracts of
//! `protos/`, whose comments are the specification. What generation cannot give stands in here: calls that are tried
//! again, a [`Watch`] that goes on over any number of connections, uploads, and typed [`Error`]s.

// An error is read by people, seldom: that it is large costs nothing. tonic's own Status is.
#![allow(clippy::result_large_err)]

mod calls;
mod client;
mod connect_options;
mod error;

mod scenario_files;
mod upload;
mod watch;
mod watch_cursor;

#[allow(missing_docs, clippy::all)]
mod contracts {
    tonic::include_proto!("contracts");
}

pub use client::{DEFAULT_SERVER, Events, Milepost, Scenarios, Sessions, Studies, Templates, new_request_id};
pub use connect_options::Options;
pub use contracts::milepost::*;
pub use error::{Error, LOG_GAP, SCENARIO_FILES, UNREACHABLE, Violation};
pub use watch::{Watch, WatchItem};
