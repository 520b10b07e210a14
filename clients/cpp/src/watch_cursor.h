// Where a watcher stands in a session's log, over any number of connections. Pure.
#pragma once

#include <algorithm>
#include <cstdint>
#include <queue>
#include <string>
#include <utility>

#include "milepost/watch.h"

namespace milepost {

/// The cursor is the `seq` of the last event given out or, when only some kinds are watched, of the last one the server
/// says it has passed. An event at or before it was given out on an earlier connection.
class WatchCursor {
 public:
  explicit WatchCursor(const event::v1::WatchEventsRequest& request)
      : session_id_(request.session_id()),
        seq_(request.after_seq()),
        filtered_(request.kinds_size() > 0 || request.phases_size() > 0) {}

  /// Where to ask again after a break.
  std::int64_t seq() const { return seq_; }

  /// Adds to `items` what a message gives its reader, without what was given before. Throws LOG_GAP when the log is
  /// watched whole and an event is missing.
  void take(event::v1::WatchEventsResponse& message, std::queue<WatchItem>& items) {
    using Response = event::v1::WatchEventsResponse;
    switch (message.message_case()) {
      case Response::kEvents:
        for (auto& event : *message.mutable_events()->mutable_events()) {
          if (event.seq() > seq_) {
            reach(event.seq(), event.seq() - 1);
            items.push(std::move(event));
          }
        }
        break;
      case Response::kCaughtUp:
        reach(message.caught_up().seq(), message.caught_up().seq());
        items.push(message.caught_up());
        break;
      case Response::kFellBehind:
        items.push(message.fell_behind());
        break;
      case Response::kHeartbeat:
        reach(message.heartbeat().sent_seq(), message.heartbeat().sent_seq());
        items.push(message.heartbeat());
        break;
      case Response::kFrame:
        items.push(std::move(*message.mutable_frame()));
        break;
      case Response::kTerminal:
        reach(message.terminal().seq(), message.terminal().seq());
        items.push(message.terminal());
        break;
      // Hello repeats what was asked; a message of a later version is no business of this one.
      case Response::kHello:
      case Response::MESSAGE_NOT_SET:
        break;
    }
  }

 private:
  /// The log up to `to` is behind this watcher, who must have been given it up to `seen`.
  void reach(std::int64_t to, std::int64_t seen) {
    if (!filtered_ && seen > seq_) {
      throw Error(grpc::StatusCode::DATA_LOSS, kLogGap,
                  "log of " + session_id_ + ": expected seq " + std::to_string(seq_ + 1) + ", got " +
                      std::to_string(to));
    }
    seq_ = std::max(seq_, to);
  }

  std::string session_id_;
  std::int64_t seq_;
  bool filtered_;
};

}  // namespace milepost
