//! The client.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tonic::metadata::{Ascii, AsciiMetadataKey, AsciiMetadataValue, MetadataKey, MetadataMap, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Response, Status};

use crate::calls::Backoff;
use crate::connect_options::Options;
use crate::error::Error;
use crate::event::v1::event_service_client::EventServiceClient;
use crate::event::v1::{EventKind, WatchEventsRequest};
use crate::scenario::v1::scenario_service_client::ScenarioServiceClient;
use crate::scenario::v1::template_service_client::TemplateServiceClient;
use crate::scenario::v1::{Scenario, UploadHeader};
use crate::session::v1::session_service_client::SessionServiceClient;
use crate::session::v1::{
    CreateDemoSessionRequest, CreateSessionRequest, GetSessionRequest, Session, SessionSpec, SessionState, SessionView,
};
use crate::study::v1::study_service_client::StudyServiceClient;
use crate::upload;
use crate::watch::{Watch, WatchItem};

/// Where `milepost up` serves.
pub const DEFAULT_SERVER: &str = "127.0.0.1:7400";

// What even the last try may take: a server that came back at the last moment still answers.
const LAST_TRY: Duration = Duration::from_secs(5);
// Uploads are as long as they are; a call without any deadline could hang for ever.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(3600);
// The servers' limit on one message, either way.
const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;
const WINDOW_BYTES: u32 = 1024 * 1024;

/// SessionService: creates, commands and looks up sessions.
pub type Sessions = SessionServiceClient<InterceptedService<Channel, Proof>>;
/// ScenarioService: looks scenarios up; [`Milepost::upload`] uploads them.
pub type Scenarios = ScenarioServiceClient<InterceptedService<Channel, Proof>>;
/// TemplateService: scenarios with parameters.
pub type Templates = TemplateServiceClient<InterceptedService<Channel, Proof>>;
/// StudyService: compares variants on many seeds.
pub type Studies = StudyServiceClient<InterceptedService<Channel, Proof>>;
/// EventService: reads logs and asks about them; [`Milepost::watch`] follows one.
pub type Events = EventServiceClient<InterceptedService<Channel, Proof>>;

/// A client of a Milepost server. Clones share its connections.
///
/// What a generated stub does well stays a stub: [`Milepost::sessions`], [`Milepost::studies`],
/// [`Milepost::scenarios`], [`Milepost::templates`] and [`Milepost::events`], used within [`Milepost::call`]. The
/// contracts name effect, precondition and errors of each call. To cancel a call or a watch, drop its future.
#[derive(Clone, Debug)]
pub struct Milepost {
    api: Channel,
    store: Channel,
    proof: Proof,
    retry_for: Duration,
    silence: Duration,
    timeout: Option<Duration>,
}

impl Milepost {
    /// A client of the session_api at `server`, `host:port`. Connects on first use; call it within a tokio runtime.
    ///
    /// Fails for an address that is none, a header that cannot be sent, or a key or certificate that cannot be read.
    pub fn connect(server: &str, options: Options) -> io::Result<Self> {
        let store = options.event_store.clone().map_or_else(|| beside(server), Ok)?;
        Ok(Self {
            api: open(server, &options)?,
            store: open(&store, &options)?,
            proof: Proof::new(&options)?,
            retry_for: options.retry_for,
            silence: options.silence,
            timeout: None,
        })
    }

    /// The same client, where a call or a watch as a whole may take this long; then it fails with DEADLINE_EXCEEDED.
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self.clone() }
    }

    /// SessionService: creates, commands and looks up sessions.
    pub fn sessions(&self) -> Sessions {
        SessionServiceClient::with_interceptor(self.api.clone(), self.proof.clone())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// ScenarioService: looks scenarios up.
    pub fn scenarios(&self) -> Scenarios {
        ScenarioServiceClient::with_interceptor(self.api.clone(), self.proof.clone())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// TemplateService: scenarios with parameters.
    pub fn templates(&self) -> Templates {
        TemplateServiceClient::with_interceptor(self.api.clone(), self.proof.clone())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// StudyService: compares variants on many seeds.
    pub fn studies(&self) -> Studies {
        StudyServiceClient::with_interceptor(self.api.clone(), self.proof.clone())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// EventService: reads logs and asks about them.
    pub fn events(&self) -> Events {
        EventServiceClient::with_interceptor(self.store.clone(), self.proof.clone())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// Makes a call, again while the server is away or several writers met:
    ///
    /// ```ignore
    /// client.call(async |one| one.sessions().suspend_session(request.clone()).await).await?
    /// ```
    ///
    /// `one` is this client with the deadline of one try. Reads can be repeated as they are. A request that creates or
    /// commands needs a `request_id` of its own, the same in all tries: [`new_request_id`].
    pub async fn call<T>(&self, attempt: impl AsyncFn(Milepost) -> Result<Response<T>, Status>) -> Result<T, Error> {
        let limit = self.timeout.map(|it| Instant::now() + it);
        let mut backoff = Backoff::new(self.retry_for, limit);
        loop {
            let may_take = backoff.one_try(LAST_TRY);
            let mut one = self.clone();
            one.proof.deadline = Some(may_take);
            let error = match timeout(may_take, attempt(one)).await {
                Ok(Ok(answer)) => return Ok(answer.into_inner()),
                Ok(Err(status)) => Error::from(status),
                Err(_) => Error::deadline_exceeded(),
            };
            if !error.may_pass() {
                return Err(error);
            }
            backoff.wait(error).await?;
        }
    }

    /// Creates a session and queues it. It is durable when this returns.
    pub async fn create(&self, spec: SessionSpec) -> Result<Session, Error> {
        self.create_session(CreateSessionRequest { spec: Some(spec), ..Default::default() }).await
    }

    /// As [`Milepost::create`], with all there is to say; a `request_id` is put in where there is none.
    pub async fn create_session(&self, mut request: CreateSessionRequest) -> Result<Session, Error> {
        if request.request_id.is_empty() {
            request.request_id = new_request_id();
        }
        let answer = self.call(async |one| one.sessions().create_session(request.clone()).await).await?;
        Ok(answer.session.unwrap_or_default())
    }

    /// Creates a session of the bundled city and queues it.
    pub async fn create_demo(&self, seed: u32) -> Result<Session, Error> {
        let request = CreateDemoSessionRequest { request_id: new_request_id(), seed, ..Default::default() };
        let answer = self.call(async |one| one.sessions().create_demo_session(request.clone()).await).await?;
        Ok(answer.session.unwrap_or_default())
    }

    /// Waits for the session's end, however long and however often it is suspended; the FULL session then.
    pub async fn wait(&self, session_id: &str) -> Result<Session, Error> {
        let mut session = self.full(session_id, 0).await?;
        while !has_ended(&session) {
            let ends = [EventKind::SessionCompleted, EventKind::SessionFailed, EventKind::SessionCancelled];
            let mut watch = self.watch(WatchEventsRequest {
                session_id: session_id.to_owned(),
                after_seq: session.seq,
                kinds: ends.map(Into::into).to_vec(),
                ..Default::default()
            });
            let mut seq = 0;
            while seq == 0 {
                match watch.next().await? {
                    Some(WatchItem::Event(event)) => seq = event.seq,
                    Some(WatchItem::Terminal(terminal)) => seq = terminal.seq,
                    Some(_) => {}
                    None => break,
                }
            }
            session = self.full(session_id, seq).await?;
        }
        Ok(session)
    }

    /// Follows a session's log: history, then live, until it ends. A session id alone is a request for all of it.
    pub fn watch(&self, request: impl Into<WatchEventsRequest>) -> Watch {
        let limit = self.timeout.map(|it| Instant::now() + it);
        Watch::new(self.clone(), request.into(), Backoff::new(self.retry_for, limit), self.silence, limit)
    }

    /// Uploads a `.sumocfg`, a directory with exactly one, or a zip archive; validated before it is stored.
    ///
    /// Errors: [`SCENARIO_FILES`](crate::SCENARIO_FILES) for what is wrong with the local files, SCENARIO_INVALID with a
    /// violation per finding (`file:line`) for what is wrong with the scenario.
    pub async fn upload(&self, path: impl AsRef<Path>) -> Result<Scenario, Error> {
        let path = path.as_ref();
        let named = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let display_name = named.file_stem().map(|it| it.to_string_lossy().into_owned()).unwrap_or_default();
        self.upload_with(path, UploadHeader { display_name, ..Default::default() }).await
    }

    /// As [`Milepost::upload`], with a display name, or to have the files validated only; the rest is filled in.
    pub async fn upload_with(&self, path: impl AsRef<Path>, header: UploadHeader) -> Result<Scenario, Error> {
        let content = upload::Content::of(path.as_ref())?;
        let patient = self.timeout.map_or_else(|| self.with_timeout(UPLOAD_TIMEOUT), |_| self.clone());
        let answer = patient.call(async |one| content.send(&one, header.clone()).await).await?;
        Ok(answer.scenario.unwrap_or_default())
    }

    async fn full(&self, session_id: &str, min_seq: i64) -> Result<Session, Error> {
        let request = GetSessionRequest { session_id: session_id.to_owned(), view: SessionView::Full.into(), min_seq };
        let answer = self.call(async |one| one.sessions().get_session(request.clone()).await).await?;
        Ok(answer.session.unwrap_or_default())
    }
}

/// A name for a wish: all tries of it carry the same.
pub fn new_request_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// Puts metadata, and the deadline of one try, into calls.
#[derive(Clone, Debug)]
pub struct Proof {
    headers: Vec<(MetadataKey<Ascii>, MetadataValue<Ascii>)>,
    deadline: Option<Duration>,
}

impl Proof {
    fn new(options: &Options) -> io::Result<Self> {
        let token = options.token.iter().map(|it| ("authorization".to_owned(), format!("Bearer {it}")));
        let headers = options.headers.iter().cloned().chain(token).map(|(name, value)| {
            let key =
                name.parse::<AsciiMetadataKey>().map_err(|_| invalid(format!("{name:?} is no name of a header")))?;
            let value = value.parse::<AsciiMetadataValue>().map_err(|_| invalid(format!("{name}: cannot be sent")))?;
            Ok((key, value))
        });
        Ok(Self { headers: headers.collect::<io::Result<_>>()?, deadline: None })
    }
}

impl Interceptor for Proof {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let metadata: &mut MetadataMap = request.metadata_mut();
        for (key, value) in &self.headers {
            metadata.append(key.clone(), value.clone());
        }
        if let Some(deadline) = self.deadline {
            request.set_timeout(deadline);
        }
        Ok(request)
    }
}

fn has_ended(session: &Session) -> bool {
    matches!(session.state(), SessionState::Completed | SessionState::Failed | SessionState::Cancelled)
}

fn open(address: &str, options: &Options) -> io::Result<Channel> {
    let scheme = if options.tls_ca.is_some() { "https" } else { "http" };
    let mut endpoint = Endpoint::from_shared(format!("{scheme}://{address}"))
        .map_err(|_| invalid(format!("{address:?} is not host:port")))?
        .connect_timeout(Duration::from_secs(5))
        // A dead peer is noticed within 20 s of an open call; the servers permit a ping every 10 s.
        .http2_keep_alive_interval(Duration::from_secs(15))
        .keep_alive_timeout(Duration::from_secs(5))
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES);
    if let Some(ca) = &options.tls_ca {
        let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(fs::read(ca)?));
        if let (Some(cert), Some(key)) = (&options.tls_cert, &options.tls_key) {
            tls = tls.identity(Identity::from_pem(fs::read(cert)?, fs::read(key)?));
        }
        endpoint = endpoint.tls_config(tls).map_err(io::Error::other)?;
    }
    Ok(endpoint.connect_lazy())
}

/// The event store's address when only session_api's is known: the next port.
fn beside(server: &str) -> io::Result<String> {
    let (host, port) = server.rsplit_once(':').ok_or_else(|| invalid(format!("{server:?} is not host:port")))?;
    let port: u16 = port.parse().map_err(|_| invalid(format!("{server:?} is not host:port")))?;
    Ok(format!("{host}:{}", port + 1))
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}
