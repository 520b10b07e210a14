#include "milepost/error.h"

#include <array>

#include "google/rpc/error_details.pb.h"

namespace milepost {
namespace {

constexpr std::string_view kPrefix = "ERROR_REASON_";
constexpr std::array<std::string_view, 17> kNames = {
    "OK",           "CANCELLED",        "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",  "NOT_FOUND",
    "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED",       "OUT_OF_RANGE",
    "UNIMPLEMENTED", "INTERNAL",         "UNAVAILABLE",       "DATA_LOSS",          "UNAUTHENTICATED"};

bool made_by_transport(grpc::StatusCode code) {
  return code == grpc::StatusCode::UNAVAILABLE || code == grpc::StatusCode::CANCELLED ||
         code == grpc::StatusCode::INTERNAL || code == grpc::StatusCode::UNKNOWN;
}

}  // namespace

Error::Error(grpc::StatusCode code, std::string_view reason, std::string_view message)
    : std::runtime_error(std::string(reason) + ": " + std::string(message)),
      code(code),
      reason(reason),
      message(message) {}

Error Error::from(const grpc::Status& status, bool cancelled) {
  google::rpc::Status details;
  // What cannot be read says nothing; the status itself still does.
  if (!details.ParseFromString(status.error_details()) || details.code() != status.error_code()) {
    details.Clear();
  }
  details.set_code(status.error_code());
  details.set_message(status.error_message());
  Error error = from(details);
  bool own_wish = cancelled && error.code == grpc::StatusCode::CANCELLED;
  // Our servers give a reason with every refusal: without one the transport made it up.
  if (made_by_transport(error.code) && error.domain.empty() && !own_wish) {
    return Error(grpc::StatusCode::UNAVAILABLE, kUnreachable, error.message);
  }
  return error;
}

Error Error::from(const google::rpc::Status& status) {
  google::rpc::ErrorInfo info;
  google::rpc::BadRequest request;
  google::rpc::RetryInfo retry;
  for (const auto& detail : status.details()) {
    detail.UnpackTo(&info) || detail.UnpackTo(&request) || detail.UnpackTo(&retry);
  }
  auto code = static_cast<std::size_t>(status.code());
  std::string_view name = code < kNames.size() ? kNames[code] : "UNKNOWN";
  Error error(static_cast<grpc::StatusCode>(status.code()), info.reason().empty() ? name : info.reason(),
              status.message());
  error.domain = info.domain();
  error.metadata = {info.metadata().begin(), info.metadata().end()};
  for (const auto& field : request.field_violations()) {
    error.violations.push_back({.field = field.field(), .description = field.description()});
  }
  if (retry.has_retry_delay()) {
    error.retry_after =
        std::chrono::seconds(retry.retry_delay().seconds()) + std::chrono::nanoseconds(retry.retry_delay().nanos());
  }
  return error;
}

bool Error::is(errors::v1::ErrorReason other) const {
  return errors::v1::ErrorReason_Name(other) == std::string(kPrefix) + reason;
}

bool Error::may_pass() const {
  return code == grpc::StatusCode::UNAVAILABLE ||
         (code == grpc::StatusCode::ABORTED && !is(errors::v1::ERROR_REASON_ETAG_MISMATCH));
}

}  // namespace milepost
