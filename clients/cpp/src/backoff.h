// The one rule for trying again.
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <random>

#include "milepost/error.h"
#include "milepost/options.h"

namespace milepost {

using Clock = std::chrono::steady_clock;

// First and longest wait between two tries; each is drawn at random from half to all of it.
inline constexpr std::chrono::nanoseconds kFirstBackoff = std::chrono::milliseconds(100);
inline constexpr std::chrono::nanoseconds kLongestBackoff = std::chrono::seconds(2);

inline Error cancelled() { return Error(grpc::StatusCode::CANCELLED, "CANCELLED", "cancelled by the caller"); }
inline Error deadline_exceeded() {
  return Error(grpc::StatusCode::DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED", "the time for the call is over");
}

/// How long to wait before the next try, and when to give up: `retry_for` after the start or the last success, or when
/// the bounds of the call as a whole say so.
class Backoff {
 public:
  Backoff(std::chrono::milliseconds retry_for, const Bounds& bounds) : retry_for_(retry_for), stop_(bounds.stop) {
    if (bounds.timeout) {
      limit_ = Clock::now() + *bounds.timeout;
    }
    succeeded();
  }

  /// When the call as a whole is to be over.
  const std::optional<Clock::time_point>& limit() const { return limit_; }

  /// Starts over: the server is there.
  void succeeded() {
    give_up_ = Clock::now() + retry_for_;
    next_ = kFirstBackoff;
  }

  /// What one try may take: what is left, `at_least` unless the call as a whole is to be over earlier.
  Clock::duration one_try(Clock::duration at_least) const {
    return limit_ ? *limit_ - Clock::now() : std::max(give_up_ - Clock::now(), at_least);
  }

  /// Waits before another try. Throws `error` when the time for tries is over, or what ended the call as a whole.
  void wait(const Error& error) {
    thread_local std::minstd_rand chance{std::random_device{}()};
    auto pause = std::chrono::duration_cast<std::chrono::nanoseconds>(
        next_ * std::uniform_real_distribution<double>(0.5, 1.0)(chance));
    pause = std::max(pause, error.retry_after.value_or(std::chrono::nanoseconds::zero()));
    next_ = std::min(next_ * 2, kLongestBackoff);
    auto resume = Clock::now() + pause;
    if (limit_ && resume >= *limit_) {
      sleep_until(*limit_);
      throw deadline_exceeded();
    }
    if (!limit_ && resume >= give_up_) {
      throw error;
    }
    sleep_until(resume);
  }

 private:
  void sleep_until(Clock::time_point when) const {
    std::mutex mutex;
    std::unique_lock lock(mutex);
    std::condition_variable_any never;
    never.wait_until(lock, stop_, when, [] { return false; });
    if (stop_.stop_requested()) {
      throw cancelled();
    }
  }

  std::chrono::milliseconds retry_for_;
  std::stop_token stop_;
  std::optional<Clock::time_point> limit_;
  Clock::time_point give_up_;
  std::chrono::nanoseconds next_;
};

}  // namespace milepost
