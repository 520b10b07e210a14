//! How to connect.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

/// How to connect. [`Options::default`] is no encryption and no proof of who calls, as `milepost up` serves it.
///
/// Without `tls_ca` a token travels in the clear: on this machine, or where something else encrypts.
#[derive(Clone, Debug)]
pub struct Options {
    /// `host:port` of event_store; `None`: the next port beside session_api.
    pub event_store: Option<String>,
    /// Bearer token (JWT).
    pub token: Option<String>,
    /// Authorities (PEM) of the servers' certificates. Set: connect over TLS.
    pub tls_ca: Option<PathBuf>,
    /// This client's certificate chain (PEM).
    pub tls_cert: Option<PathBuf>,
    /// Its private key (PEM).
    pub tls_key: Option<PathBuf>,
    /// Metadata that goes with every call: names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// How long calls, and watches since they last heard something, try to get through to a server that is away.
    pub retry_for: Duration,
    /// After what silence a watch connects anew; servers say something every 5 s.
    pub silence: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            event_store: None,
            token: None,
            tls_ca: None,
            tls_cert: None,
            tls_key: None,
            headers: Vec::new(),
            retry_for: Duration::from_secs(30),
            silence: Duration::from_secs(15),
        }
    }
}

impl Options {
    /// From MILEPOST_EVENT_STORE, MILEPOST_TOKEN, MILEPOST_TLS_CA, MILEPOST_TLS_CERT and MILEPOST_TLS_KEY.
    pub fn from_environment() -> Self {
        let path = |name| variable(name).map(PathBuf::from);
        Self {
            event_store: variable("MILEPOST_EVENT_STORE"),
            token: variable("MILEPOST_TOKEN"),
            tls_ca: path("MILEPOST_TLS_CA"),
            tls_cert: path("MILEPOST_TLS_CERT"),
            tls_key: path("MILEPOST_TLS_KEY"),
            ..Self::default()
        }
    }
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}
