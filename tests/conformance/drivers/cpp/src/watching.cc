#include <thread>

#include "parts.h"

namespace {

namespace ev = milepost::event::v1;

/// Notes an item; false: that is enough.
bool note(milepost::WatchItem& item, const pb::Watch& wish, pb::Watched& seen) {
  if (auto* event = std::get_if<ev::Event>(&item)) {
    seen.add_seqs(event->seq());
    seen.add_kinds(event->payload_case());
    if (wish.report_events()) {
      *seen.add_events() = std::move(*event);
    }
    std::this_thread::sleep_for(length(wish.pause_per_event()));
    if (seen.seqs_size() == wish.pause_after_events()) {
      std::this_thread::sleep_for(length(wish.pause()));
    }
    return seen.seqs_size() != wish.stop_after_events();
  }
  if (std::holds_alternative<ev::CaughtUp>(item)) {
    seen.set_caught_up(seen.caught_up() + 1);
    return !wish.stop_when_caught_up();
  }
  if (std::holds_alternative<ev::FellBehind>(item)) {
    seen.set_fell_behind(seen.fell_behind() + 1);
  } else if (std::holds_alternative<ev::Heartbeat>(item)) {
    seen.set_heartbeats(seen.heartbeats() + 1);
  } else if (std::holds_alternative<ev::Frame>(item)) {
    seen.set_frames(seen.frames() + 1);
  } else if (auto* terminal = std::get_if<ev::Terminal>(&item)) {
    *seen.mutable_terminal() = *terminal;
  }
  return true;
}

}  // namespace

pb::Watched watch(milepost::Client& client, const pb::Watch& wish, const milepost::Bounds& bounds) {
  pb::Watched seen;
  try {
    milepost::Watch watch = client.watch(wish.request(), bounds);
    for (bool more = true; more;) {
      auto item = watch.next();
      more = item && note(*item, wish, seen);
      seen.set_reconnects(watch.reconnects());
    }
  } catch (const milepost::Error& error) {
    *seen.mutable_error() = typed(error);
  }
  return seen;
}

pb::WatchedAll watch_all(milepost::Client& client, const pb::WatchAll& wish) {
  grpc::ClientContext context;
  client.prepare(context);
  auto stream = client.stub<ev::EventService::Stub>().WatchAllEvents(&context, wish.request());
  pb::WatchedAll seen;
  ev::WatchAllEventsResponse message;
  while (!message.caught_up() && stream->Read(&message)) {
    seen.set_events(seen.events() + message.events_size());
    *seen.mutable_position() = message.position();
  }
  if (message.caught_up()) {
    context.TryCancel();
    stream->Finish();
    return seen;
  }
  throw milepost::Error::from(stream->Finish());
}

milepost::study::v1::WatchStudyResponse watch_study(milepost::Client& client,
                                                    const milepost::study::v1::WatchStudyRequest& request) {
  grpc::ClientContext context;
  client.prepare(context);
  auto stream = client.stub<milepost::study::v1::StudyService::Stub>().WatchStudy(&context, request);
  milepost::study::v1::WatchStudyResponse message;
  while (stream->Read(&message)) {
  }
  if (grpc::Status status = stream->Finish(); !status.ok()) {
    throw milepost::Error::from(status);
  }
  return message;
}
