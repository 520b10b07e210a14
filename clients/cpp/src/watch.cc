#include "milepost/watch.h"

#include <utility>

#include "watch_state.h"

namespace milepost {

WatchStream::WatchStream(event::v1::EventService::Stub& stub, const event::v1::WatchEventsRequest& request,
                         const std::function<void(grpc::ClientContext&)>& prepare)
    : request_(request) {
  prepare(context_);
  stub.async()->WatchEvents(&context_, &request_, this);
  // Until a read has failed: a read must not be asked for of a call that is done, and gone with it.
  AddHold();
  StartCall();
}

WatchStream::~WatchStream() {
  context_.TryCancel();
  std::unique_lock lock(mutex_);
  // A read that was never asked for would keep the call open.
  if (held_) {
    held_ = false;
    bool ask = !reading_;
    lock.unlock();
    if (ask) {
      StartRead(&message_);
    }
    RemoveHold();
    lock.lock();
  }
  changed_.wait(lock, [this] { return done_; });
}

WatchStream::Heard WatchStream::hear(Clock::time_point until, const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  if (!reading_ && held_) {
    reading_ = true;
    lock.unlock();
    StartRead(&message_);
    lock.lock();
  }
  changed_.wait_until(lock, stop, until, [this] { return read_ || done_; });
  if (read_) {
    reading_ = read_ = false;
    return Heard::kMessage;
  }
  if (done_) {
    return Heard::kEnd;
  }
  return stop.stop_requested() ? Heard::kStop : Heard::kSilence;
}

void WatchStream::OnReadDone(bool ok) {
  std::unique_lock lock(mutex_);
  read_ = ok;
  changed_.notify_all();
  if (!ok && held_) {
    held_ = false;
    lock.unlock();
    // OnDone comes now.
    RemoveHold();
  }
}

void WatchStream::OnDone(const grpc::Status& status) {
  std::lock_guard lock(mutex_);
  status_ = status;
  done_ = true;
  changed_.notify_all();
}

Watch::State::State(event::v1::EventService::Stub& stub, Fresh fresh, event::v1::WatchEventsRequest request,
                    const Options& options, const Bounds& bounds, std::function<void(grpc::ClientContext&)> prepare)
    : stub_(&stub),
      fresh_(std::move(fresh)),
      request_(std::move(request)),
      silence_(options.silence),
      stop_(bounds.stop),
      prepare_(std::move(prepare)),
      cursor_(request_),
      backoff_(options.retry_for, bounds) {}

std::optional<WatchItem> Watch::State::next() {
  while (items_.empty() && !ended_) {
    receive();
  }
  if (items_.empty()) {
    return std::nullopt;
  }
  WatchItem item = std::move(items_.front());
  items_.pop();
  // From now on, not from when it came: a slow reader is no silent server.
  backoff_.succeeded();
  return item;
}

/// Takes one message in, or mends the connection.
void Watch::State::receive() {
  if (!stream_) {
    connections_++;
    request_.set_after_seq(cursor_.seq());
    stream_ = std::make_unique<WatchStream>(*stub_, request_, prepare_);
  }
  auto until = Clock::now() + silence_;
  auto limit = backoff_.limit();
  bool last = limit && *limit <= until;
  switch (stream_->hear(last ? *limit : until, stop_)) {
    case WatchStream::Heard::kMessage:
      backoff_.succeeded();
      ended_ = stream_->message().has_terminal();
      try {
        cursor_.take(stream_->message(), items_);
      } catch (const Error& gap) {
        fail(gap);
      }
      if (ended_) {
        stream_.reset();
      }
      return;
    case WatchStream::Heard::kStop:
      fail(cancelled());
    case WatchStream::Heard::kSilence:
      if (last) {
        fail(deadline_exceeded());
      }
      stream_.reset();
      // Over another connection: this one may be dead long before gRPC finds out.
      own_ = fresh_();
      stub_ = own_.get();
      backoff_.wait(Error(grpc::StatusCode::UNAVAILABLE, kUnreachable, "nothing was heard for too long"));
      return;
    case WatchStream::Heard::kEnd:
      Error broken = stream_->status().ok() ? Error(grpc::StatusCode::UNAVAILABLE, kUnreachable,
                                                    "the stream ended before its last message")
                                            : Error::from(stream_->status());
      if (broken.code != grpc::StatusCode::UNAVAILABLE) {
        fail(broken);
      }
      stream_.reset();
      backoff_.wait(broken);
  }
}

void Watch::State::fail(const Error& error) {
  ended_ = true;
  stream_.reset();
  throw error;
}

Watch::Watch(std::unique_ptr<State> state) : state_(std::move(state)) {}
Watch::Watch(Watch&&) noexcept = default;
Watch& Watch::operator=(Watch&&) noexcept = default;
Watch::~Watch() = default;

std::optional<WatchItem> Watch::next() { return state_->next(); }
int Watch::reconnects() const { return state_->reconnects(); }

}  // namespace milepost
