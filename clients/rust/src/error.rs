//! What the client gives as error, and how a failed call becomes one.

use std::collections::HashMap;
use std::error::Error as _;
use std::fmt;
use std::time::Duration;

use tonic::{Code, Status, TimeoutExpired};
use tonic_types::{ErrorDetails, RpcStatusExt, StatusExt};

use crate::errors::v1::ErrorReason;

/// No server answered, or the connection broke, for as long as the client was willing to try.
pub const UNREACHABLE: &str = "UNREACHABLE";
/// A watched log skipped an event; never expected.
pub const LOG_GAP: &str = "LOG_GAP";
/// The local files make no scenario: missing, ambiguous, a symbolic link, too many.
pub const SCENARIO_FILES: &str = "SCENARIO_FILES";

const PREFIX: &str = "ERROR_REASON_";

/// One field of a request, or one file (`path:line`) of a scenario, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub field: String,
    /// What it should be.
    pub description: String,
}

/// A call that failed for good.
///
/// Tell failures apart by [`Error::is`]: the table of reasons, what metadata each carries and the status it travels
/// under is `milepost/errors/v1/errors.proto`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Error {
    /// The status the call ended with; of an error the client made itself the nearest one.
    pub code: Code,
    /// Name of an [`ErrorReason`] without its prefix; [`UNREACHABLE`], [`LOG_GAP`] or [`SCENARIO_FILES`] of the
    /// client's own; else the name of the status, for example `DEADLINE_EXCEEDED`: the call took too long, and what it
    /// asked for may have happened.
    pub reason: String,
    /// Whose reason it is: `milepost`; empty when no server of ours said it.
    pub domain: String,
    /// What belongs to the reason, for example `legal_verbs` of INVALID_TRANSITION.
    pub metadata: HashMap<String, String>,
    /// The sentence.
    pub message: String,
    /// The fields, or lines of files, that were refused.
    pub violations: Vec<Violation>,
    /// After what time the server thinks another try worth it.
    pub retry_after: Option<Duration>,
}

impl Error {
    /// Whether the server refused the call for this reason.
    pub fn is(&self, reason: ErrorReason) -> bool {
        reason.as_str_name().strip_prefix(PREFIX) == Some(&self.reason)
    }

    pub(crate) fn own(code: Code, reason: &str, message: String) -> Self {
        Self {
            code,
            reason: reason.to_owned(),
            domain: String::new(),
            metadata: HashMap::new(),
            message,
            violations: Vec::new(),
            retry_after: None,
        }
    }

    pub(crate) fn unreachable(message: String) -> Self {
        Self::own(Code::Unavailable, UNREACHABLE, message)
    }

    pub(crate) fn deadline_exceeded() -> Self {
        Self::own(Code::DeadlineExceeded, name_of(Code::DeadlineExceeded), "the time for the call is over".into())
    }

    pub(crate) fn scenario_files(message: String) -> Self {
        Self::own(Code::InvalidArgument, SCENARIO_FILES, message)
    }

    /// Whether the same call can succeed another time. A stale `etag` is aborted, too, and stays stale.
    pub(crate) fn may_pass(&self) -> bool {
        self.code == Code::Unavailable || (self.code == Code::Aborted && !self.is(ErrorReason::EtagMismatch))
    }

    fn new(code: Code, message: &str, details: ErrorDetails) -> Self {
        let mut error = Self::own(code, name_of(code), message.to_owned());
        if let Some(info) = details.error_info() {
            error.reason = info.reason.clone();
            error.domain = info.domain.clone();
            error.metadata = info.metadata.clone();
        }
        if let Some(request) = details.bad_request() {
            error.violations = request
                .field_violations
                .iter()
                .map(|it| Violation { field: it.field.clone(), description: it.description.clone() })
                .collect();
        }
        error.retry_after = details.retry_info().and_then(|it| it.retry_delay);
        error
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        // What the transport gives up by itself it calls cancelled.
        let mut cause = status.source();
        while let Some(one) = cause {
            if one.is::<TimeoutExpired>() {
                return Self::deadline_exceeded();
            }
            cause = one.source();
        }
        let error = Self::new(status.code(), status.message(), status.get_error_details());
        let transport = matches!(status.code(), Code::Unavailable | Code::Cancelled | Code::Internal | Code::Unknown);
        // Our servers give a reason with every refusal: without one the transport made it up.
        if transport && error.domain.is_empty() { Self::unreachable(error.message) } else { error }
    }
}

/// The typed form of a status within an answer: what became of one item of a batch.
impl From<tonic_types::Status> for Error {
    fn from(status: tonic_types::Status) -> Self {
        Self::new(Code::from_i32(status.code), &status.message, status.get_error_details())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}: {}", self.reason, self.message)
    }
}

impl std::error::Error for Error {}

fn name_of(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
