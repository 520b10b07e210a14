#pragma once

#include <chrono>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

namespace milepost {

/// How to connect. As it is made: no encryption and no proof of who calls, as `milepost up` serves it.
///
/// Without `tls_ca` a token travels in the clear: on this machine, or where something else encrypts.
struct Options {
  /// `host:port` of event_store; empty: the next port beside session_api.
  std::string event_store{};
  /// Bearer token (JWT).
  std::string token{};
  /// File of the authorities (PEM) of the servers' certificates. Set: connect over TLS.
  std::string tls_ca{};
  /// File of this client's certificate chain (PEM).
  std::string tls_cert{};
  /// File of its private key (PEM).
  std::string tls_key{};
  /// Metadata that goes with every call: names in lower case, and values.
  std::vector<std::pair<std::string, std::string>> headers{};
  /// How long calls, and watches since they last heard something, try to get through to a server that is away.
  std::chrono::milliseconds retry_for = std::chrono::seconds(30);
  /// After what silence a watch connects anew; servers say something every 5 s.
  std::chrono::milliseconds silence = std::chrono::seconds(15);

  /// From MILEPOST_EVENT_STORE, MILEPOST_TOKEN, MILEPOST_TLS_CA, MILEPOST_TLS_CERT and MILEPOST_TLS_KEY.
  static Options from_environment();
};

/// How one call, or one watch, may end before it is over.
struct Bounds {
  /// What it may take as a whole; then it fails with DEADLINE_EXCEEDED. Unset: a call `retry_for`, a watch for ever.
  std::optional<std::chrono::milliseconds> timeout{};
  /// Its stop cancels it: it fails with CANCELLED.
  std::stop_token stop{};
};

}  // namespace milepost
