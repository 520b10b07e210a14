#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <grpcpp/support/status.h>

#include "google/rpc/status.pb.h"
#include "milepost/errors/v1/errors.pb.h"

namespace milepost {

/// No server answered, or the connection broke, for as long as the client was willing to try.
inline constexpr std::string_view kUnreachable = "UNREACHABLE";
/// A watched log skipped an event; never expected.
inline constexpr std::string_view kLogGap = "LOG_GAP";
/// The local files make no scenario: missing, ambiguous, a symbolic link, too many.
inline constexpr std::string_view kScenarioFiles = "SCENARIO_FILES";

/// One field of a request, or one file (`path:line`) of a scenario, and what is wrong with it.
struct Violation {
  std::string field;
  std::string description;
};

/// A call that failed for good.
///
/// Tell failures apart by `is`: the table of reasons, what metadata each carries and the status it travels under is
/// `milepost/errors/v1/errors.proto`.
class Error : public std::runtime_error {
 public:
  /// The typed form of a failed call. `cancelled`: the caller cancelled it.
  static Error from(const grpc::Status& status, bool cancelled = false);
  /// The typed form of a status within an answer: what became of one item of a batch.
  static Error from(const google::rpc::Status& status);
  /// An error that the client makes itself.
  Error(grpc::StatusCode code, std::string_view reason, std::string_view message);

  /// Whether the server refused the call for this reason.
  bool is(errors::v1::ErrorReason other) const;
  /// Whether the same call can succeed another time. A stale `etag` is aborted, too, and stays stale.
  bool may_pass() const;

  /// The status the call ended with; of an error the client made itself the nearest one.
  grpc::StatusCode code;
  /// Name of an `ErrorReason` without its prefix; `kUnreachable`, `kLogGap` or `kScenarioFiles` of the client's own;
  /// else the name of the status, for example `DEADLINE_EXCEEDED`: the call took too long, and what it asked for may
  /// have happened.
  std::string reason;
  /// Whose reason it is: `milepost`; empty when no server of ours said it.
  std::string domain;
  /// What belongs to the reason, for example `legal_verbs` of INVALID_TRANSITION.
  std::map<std::string, std::string> metadata;
  /// The sentence.
  std::string message;
  /// The fields, or lines of files, that were refused.
  std::vector<Violation> violations;
  /// After what time the server thinks another try worth it.
  std::optional<std::chrono::nanoseconds> retry_after;
};

}  // namespace milepost
