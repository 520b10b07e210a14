// What a watch consists of.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <queue>

#include <grpcpp/client_context.h>

#include "backoff.h"
#include "milepost/event/v1/event_service.grpc.pb.h"
#include "milepost/watch.h"
#include "watch_cursor.h"

namespace milepost {

/// One connection of a watch. Asks for a message only when its reader does, so that a slow reader holds the server back.
class WatchStream : public grpc::ClientReadReactor<event::v1::WatchEventsResponse> {
 public:
  enum class Heard { kMessage, kSilence, kStop, kEnd };

  WatchStream(event::v1::EventService::Stub& stub, const event::v1::WatchEventsRequest& request,
              const std::function<void(grpc::ClientContext&)>& prepare);
  ~WatchStream() override;

  /// Waits for the next message until a time, or a stop.
  Heard hear(Clock::time_point until, const std::stop_token& stop);
  /// What was heard: the message after kMessage, the status after kEnd.
  event::v1::WatchEventsResponse& message() { return message_; }
  const grpc::Status& status() const { return status_; }

  void OnReadDone(bool ok) override;
  void OnDone(const grpc::Status& status) override;

 private:
  grpc::ClientContext context_;
  event::v1::WatchEventsRequest request_;
  event::v1::WatchEventsResponse message_;
  grpc::Status status_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  bool held_ = true;
  bool reading_ = false;
  bool read_ = false;
  bool done_ = false;
};

class Watch::State {
 public:
  /// A stub over a connection of its own.
  using Fresh = std::function<std::unique_ptr<event::v1::EventService::Stub>()>;

  State(event::v1::EventService::Stub& stub, Fresh fresh, event::v1::WatchEventsRequest request,
        const Options& options, const Bounds& bounds, std::function<void(grpc::ClientContext&)> prepare);

  std::optional<WatchItem> next();
  int reconnects() const { return std::max(0, connections_ - 1); }

 private:
  void receive();
  [[noreturn]] void fail(const Error& error);

  event::v1::EventService::Stub* stub_;
  Fresh fresh_;
  // After a silence: what all calls share may still be taken for alive.
  std::unique_ptr<event::v1::EventService::Stub> own_;
  event::v1::WatchEventsRequest request_;
  std::chrono::milliseconds silence_;
  std::stop_token stop_;
  std::function<void(grpc::ClientContext&)> prepare_;
  WatchCursor cursor_;
  Backoff backoff_;
  std::unique_ptr<WatchStream> stream_;
  std::queue<WatchItem> items_;
  bool ended_ = false;
  int connections_ = 0;
};

}  // namespace milepost
