// The parts of the driver.
#pragma once

#include <chrono>

#include <milepost/client.h>

#include "milepost/conformance/v1/conformance.pb.h"

namespace pb = milepost::conformance::v1;

/// A message read and written again.
pb::Decoded decode(const pb::Decode& wish);

/// Follows a log and notes what is seen, up to where the wish says.
pb::Watched watch(milepost::Client& client, const pb::Watch& wish, const milepost::Bounds& bounds);

/// Follows all logs until everything stored has been seen.
pb::WatchedAll watch_all(milepost::Client& client, const pb::WatchAll& wish);

/// Follows a study to its end; the last message.
milepost::study::v1::WatchStudyResponse watch_study(milepost::Client& client,
                                                    const milepost::study::v1::WatchStudyRequest& request);

/// The client's error, as the runner reads it.
pb::Error typed(const milepost::Error& error);

inline std::chrono::nanoseconds length(const google::protobuf::Duration& duration) {
  return std::chrono::seconds(duration.seconds()) + std::chrono::nanoseconds(duration.nanos());
}
