//! Watches, and what is noted of them.

use std::time::Duration;

use milepost::event::v1::event::Payload;
use milepost::study::v1::{WatchStudyRequest, WatchStudyResponse};
use milepost::{Error, Milepost, WatchItem};
use prost::encoding::decode_varint;
use tokio::time::{sleep, timeout};

use crate::pb;
use crate::{cancelled, length, typed};

pub async fn watch(client: &Milepost, wish: pb::Watch, cancel_after: Option<Duration>) -> pb::Watched {
    let mut seen = pb::Watched::default();
    let ended = match cancel_after {
        None => follow(client, wish, &mut seen).await.map_err(typed),
        Some(after) => match timeout(after, follow(client, wish, &mut seen)).await {
            Ok(ended) => ended.map_err(typed),
            Err(_) => Err(cancelled()),
        },
    };
    seen.error = ended.err();
    seen
}

async fn follow(client: &Milepost, wish: pb::Watch, seen: &mut pb::Watched) -> Result<(), Error> {
    let mut watch = client.watch(wish.request.unwrap_or_default());
    while let Some(item) = watch.next().await? {
        seen.reconnects = watch.reconnects() as i32;
        match item {
            WatchItem::Event(event) => {
                seen.seqs.push(event.seq);
                seen.kinds.push(event.payload.as_ref().map_or(0, kind));
                if wish.report_events {
                    seen.events.push(*event);
                }
                // A sleep of no time at all takes a millisecond.
                if let Some(pause) = wish.pause_per_event {
                    sleep(length(pause)).await;
                }
                let count = seen.seqs.len() as i64;
                if count == wish.pause_after_events {
                    sleep(wish.pause.map_or(Duration::ZERO, length)).await;
                }
                if count == wish.stop_after_events {
                    return Ok(());
                }
            }
            WatchItem::CaughtUp(_) => {
                seen.caught_up += 1;
                if wish.stop_when_caught_up {
                    return Ok(());
                }
            }
            WatchItem::FellBehind(_) => seen.fell_behind += 1,
            WatchItem::Heartbeat(_) => seen.heartbeats += 1,
            WatchItem::Frame(_) => seen.frames += 1,
            WatchItem::Terminal(terminal) => seen.terminal = Some(terminal),
            _ => {}
        }
    }
    Ok(())
}

/// The number of an event's kind: that of its field.
fn kind(payload: &Payload) -> i32 {
    let mut encoded = Vec::new();
    payload.encode(&mut encoded);
    decode_varint(&mut encoded.as_slice()).map_or(0, |key| (key >> 3) as i32)
}

pub async fn watch_all(client: &Milepost, wish: pb::WatchAll) -> Result<pb::WatchedAll, Error> {
    let request = wish.request.unwrap_or_default();
    let mut stream = client.call(async |one| one.events().watch_all_events(request.clone()).await).await?;
    let mut seen = pb::WatchedAll::default();
    while let Some(message) = stream.message().await? {
        seen.events += message.events.len() as i64;
        seen.position = message.position;
        if message.caught_up {
            break;
        }
    }
    Ok(seen)
}

/// The last message of a study's watch.
pub async fn watch_study(client: &Milepost, request: WatchStudyRequest) -> Result<WatchStudyResponse, Error> {
    // The stub alone: the deadline of a try would end the stream.
    let mut stream = client.studies().watch_study(request).await?.into_inner();
    let mut last = WatchStudyResponse::default();
    while let Some(message) = stream.message().await? {
        last = message;
    }
    Ok(last)
}
