#pragma once

#include <memory>
#include <optional>
#include <variant>

#include "milepost/error.h"
#include "milepost/event/v1/event_service.pb.h"
#include "milepost/options.h"

namespace milepost {

/// What a watch gives out: an event of the log, each once and in order, and between them the marks of the stream.
///
/// `CaughtUp`: everything stored so far was given out, what follows is live; it may come again after a broken
/// connection. `FellBehind`: this watcher was too slow for live and is served from history again; nothing is skipped.
/// `Heartbeat`: nothing is lost, however quiet it is. `Frame`: vehicle positions, where they were asked for.
/// `Terminal`, always the last: the session has ended and its whole log was given out.
using WatchItem = std::variant<event::v1::Event, event::v1::CaughtUp, event::v1::FellBehind, event::v1::Heartbeat,
                               event::v1::Frame, event::v1::Terminal>;

/// A session's log as it grows: one sequence of items over any number of connections. For one thread.
///
/// After a break, a silence or a restart of the server it asks again from the last event it gave out, so its reader
/// sees every event once and in order. `Client::watch` makes one; destroy it to stop.
class Watch {
 public:
  class State;
  explicit Watch(std::unique_ptr<State> state);
  Watch(Watch&&) noexcept;
  Watch& operator=(Watch&&) noexcept;
  ~Watch();

  /// Waits for the next item; nothing after the last.
  ///
  /// Throws Error: the refusal of a server, or the last break once nothing was heard for `Options::retry_for`.
  std::optional<WatchItem> next();
  /// How often it has connected anew.
  int reconnects() const;

 private:
  std::unique_ptr<State> state_;
};

}  // namespace milepost
