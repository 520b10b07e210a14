//! The driver of the Rust client (conformance.proto says what a driver is).

mod values;
mod watching;

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::time::Duration;
use std::{env, fs, process};

use milepost::event::v1::{Event, WatchEventsResponse};
use milepost::scenario::v1::UploadHeader;
use milepost::session::v1::{CreateSessionRequest, CreateSessionResponse, Session};
use milepost::{Error, Milepost, Options};
use prost::Message;

use pb::decode::Form;
use pb::outcome::Result as Done;
use pb::step::Action;

/// conformance.proto.
#[allow(clippy::all)]
pub mod pb {
    include!(concat!(env!("OUT_DIR"), "/milepost.conformance.v1.rs"));
}

/// Each action that is one call: its name, and the stub that has it.
macro_rules! call {
    ($client:expr, $action:expr, $($name:ident $service:ident $method:ident),+ $(,)?) => {
        match $action {
            $(Action::$name(request) => Done::$name(
                $client.call(async |one| one.$service().$method(request.clone()).await).await?
            ),)+
            other => unsupported(format!("{other:?}")),
        }
    };
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut clients = HashMap::new();
    let mut size = [0; 4];
    while io::stdin().read_exact(&mut size).is_ok() {
        let mut step = vec![0; u32::from_be_bytes(size) as usize];
        io::stdin().read_exact(&mut step)?;
        let step = pb::Step::decode(step.as_slice())?;
        let outcome = pb::Outcome { step_id: step.step_id.clone(), result: Some(perform(step, &mut clients).await) };
        let outcome = outcome.encode_to_vec();
        io::stdout().write_all(&(outcome.len() as u32).to_be_bytes())?;
        io::stdout().write_all(&outcome)?;
        io::stdout().flush()?;
    }
    Ok(())
}

async fn perform(step: pb::Step, clients: &mut HashMap<Vec<u8>, Milepost>) -> Done {
    let (options, Some(action)) = (step.options.unwrap_or_default(), step.action) else {
        return unsupported("a step of a later version".into());
    };
    let key = (pb::Options { deadline: None, cancel_after: None, ..options.clone() }).encode_to_vec();
    let mut client = match clients.get(&key) {
        Some(known) => known.clone(),
        None => match connect(&options) {
            Ok(new) => clients.entry(key).or_insert(new).clone(),
            Err(error) => return unsupported(error.to_string()),
        },
    };
    if let Some(deadline) = options.deadline {
        client = client.with_timeout(length(deadline));
    }
    // What is noted of a watch outlives it when it is dropped.
    if let Action::Watch(wish) = action {
        return Done::Watch(watching::watch(&client, wish, options.cancel_after.map(length)).await);
    }
    let acting = act(&client, action);
    let done = match options.cancel_after {
        None => acting.await,
        // To cancel is to drop the future.
        Some(after) => {
            tokio::time::timeout(length(after), acting).await.unwrap_or_else(|_| Ok(Done::Error(cancelled())))
        }
    };
    done.unwrap_or_else(|error| Done::Error(typed(error)))
}

async fn act(client: &Milepost, action: Action) -> Result<Done, Error> {
    Ok(match action {
        Action::CreateSession(request) => {
            let session = client.create_session(request).await?;
            Done::CreateSession(CreateSessionResponse { session: Some(session) })
        }
        Action::CreateAndWait(request) => {
            let session = client.create_session(request).await?;
            Done::CreateAndWait(client.wait(&session.session_id).await?)
        }
        Action::UploadScenario(upload) => {
            let header = UploadHeader { display_name: upload.display_name, ..Default::default() };
            Done::UploadScenario(client.upload_with(upload.path, header).await?)
        }
        Action::WatchAll(wish) => Done::WatchAll(watching::watch_all(client, wish).await?),
        Action::WatchStudy(request) => Done::WatchStudy(watching::watch_study(client, request).await?),
        Action::Decode(wish) => decode(wish),
        action => call!(
            client,
            action,
            BatchCreateSessions sessions batch_create_sessions,
            CreateDemoSession sessions create_demo_session,
            GetSession sessions get_session,
            ListSessions sessions list_sessions,
            StartSession sessions start_session,
            CancelSession sessions cancel_session,
            UpdateSession sessions update_session,
            SuspendSession sessions suspend_session,
            ResumeSession sessions resume_session,
            RestartSession sessions restart_session,
            TerminateSession sessions terminate_session,
            CreateCheckpoint sessions create_checkpoint,
            RollbackSession sessions rollback_session,
            ForkSession sessions fork_session,
            ApplyIntervention sessions apply_intervention,
            SetPace sessions set_pace,
            StepSession sessions step_session,
            RunUntil sessions run_until,
            DeleteSession sessions delete_session,
            UndeleteSession sessions undelete_session,
            GetSessionState sessions get_session_state,
            ExplainSession sessions explain_session,
            GetScenario scenarios get_scenario,
            ListScenarios scenarios list_scenarios,
            CreateTemplate templates create_template,
            CreateStudy studies create_study,
            GetRanking studies get_ranking,
            DeleteStudy studies delete_study,
            ReadEvents events read_events,
            GetHead events get_head,
            QueryMetrics events query_metrics,
        ),
    })
}

fn connect(options: &pb::Options) -> io::Result<Milepost> {
    let target = options.target.clone().unwrap_or_default();
    let mut connecting = Options::from_environment();
    connecting.headers = options.metadata.clone().into_iter().collect();
    if target.server.is_some() || target.event_store.is_some() {
        connecting.event_store = target.event_store;
    }
    if let Some(token) = target.token {
        connecting.token = Some(token).filter(|it| !it.is_empty());
    }
    if let Some(pem) = target.tls_ca_pem {
        let path: PathBuf = env::temp_dir().join(format!("conformance-ca-{}.pem", process::id()));
        fs::write(&path, pem)?;
        connecting.tls_ca = Some(path);
    }
    let server = target.server.or_else(|| env::var("MILEPOST_SERVER").ok()).unwrap_or_default();
    Milepost::connect(&server, connecting)
}

fn decode(wish: pb::Decode) -> Done {
    let Some(Form::Encoded(encoded)) = wish.form else {
        return unsupported("prost has no JSON".into());
    };
    let again = match wish.message_type.as_str() {
        "milepost.conformance.v1.Golden" => pb::Golden::decode(encoded.as_slice()).map(|it| it.encode_to_vec()),
        "milepost.event.v1.Event" => Event::decode(encoded.as_slice()).map(|it| it.encode_to_vec()),
        "milepost.event.v1.WatchEventsResponse" => {
            WatchEventsResponse::decode(encoded.as_slice()).map(|it| it.encode_to_vec())
        }
        "milepost.session.v1.CreateSessionRequest" => {
            CreateSessionRequest::decode(encoded.as_slice()).map(|it| it.encode_to_vec())
        }
        "milepost.session.v1.Session" => Session::decode(encoded.as_slice()).map(|it| it.encode_to_vec()),
        other => return unsupported(other.into()),
    };
    let values = match pb::Golden::decode(encoded.as_slice()) {
        Ok(golden) if wish.message_type.ends_with(".Golden") => values::of(&golden),
        _ => HashMap::new(),
    };
    match again {
        Ok(encoded) => Done::Decode(pb::Decoded { encoded, values, json: String::new() }),
        Err(error) => unsupported(error.to_string()),
    }
}

fn unsupported(reason: String) -> Done {
    Done::Unsupported(pb::Unsupported { reason })
}

fn cancelled() -> pb::Error {
    pb::Error { code: 1, reason: "CANCELLED".into(), ..Default::default() }
}

fn typed(error: Error) -> pb::Error {
    let violation = |it: milepost::Violation| pb::FieldViolation { field: it.field, description: it.description };
    pb::Error {
        code: error.code.into(),
        reason: error.reason,
        domain: error.domain,
        metadata: error.metadata,
        message: error.message,
        field_violations: error.violations.into_iter().map(violation).collect(),
        retry_delay: error.retry_after.and_then(|it| it.try_into().ok()),
    }
}

fn length(duration: prost_types::Duration) -> Duration {
    duration.try_into().unwrap_or_default()
}
