#include "milepost/client.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <fstream>
#include <random>
#include <sstream>
#include <stdexcept>
#include <utility>

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include "backoff.h"
#include "upload.h"
#include "watch_state.h"

namespace milepost {
namespace {

using namespace std::chrono_literals;

// What even the last try may take: a server that came back at the last moment still answers.
constexpr auto kLastTry = 5s;
// Uploads are as long as they are; a call without any deadline could hang for ever.
constexpr auto kUploadTimeout = 1h;
// The servers' limit on one message, either way.
constexpr int kMaxMessageBytes = 4 * 1024 * 1024;
// What may be on its way to a reader.
constexpr int kWindowBytes = 1024 * 1024;

std::string contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  if (path.empty()) {
    return {};
  }
  if (!(text << file.rdbuf())) {
    throw std::runtime_error(path + " cannot be read");
  }
  return text.str();
}

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

/// `own`: over a connection that no other channel has.
std::shared_ptr<grpc::Channel> open(const std::string& address, const Options& options, bool own = false) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, own);
  arguments.SetMaxReceiveMessageSize(kMaxMessageBytes);
  arguments.SetMaxSendMessageSize(kMaxMessageBytes);
  // A dead peer is noticed within 20 s of an open call; the servers permit a ping every 10 s.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 15'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 5'000);
  // A watch sends nothing but pings, and after two of them gRPC would stop looking. It has one under way at a time: a
  // probe of the bandwidth that is never answered would keep the one that looks for a dead peer waiting for ever.
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  arguments.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, kWindowBytes);
  // A server that is restarted is back within seconds; gRPC's default waits up to two minutes to look for it.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 5'000);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1'000);
  // Tries again are made in `try_again`, in sight.
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  if (options.tls_ca.empty()) {
    return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
  }
  grpc::SslCredentialsOptions tls{contents(options.tls_ca), contents(options.tls_key), contents(options.tls_cert)};
  return grpc::CreateCustomChannel(address, grpc::SslCredentials(tls), arguments);
}

/// The event store's address when only session_api's is known: the next port.
std::string beside(std::string_view server) {
  auto colon = server.rfind(':');
  unsigned port = 0;
  if (colon != server.npos) {
    std::from_chars(server.data() + colon + 1, server.data() + server.size(), port);
  }
  if (port == 0) {
    throw std::invalid_argument("\"" + std::string(server) + "\" is not host:port");
  }
  return std::string(server.substr(0, colon + 1)) + std::to_string(port + 1);
}

bool has_ended(const session::v1::Session& session) {
  return session.state() == session::v1::SESSION_STATE_COMPLETED ||
         session.state() == session::v1::SESSION_STATE_FAILED ||
         session.state() == session::v1::SESSION_STATE_CANCELLED;
}

}  // namespace

std::string new_request_id() {
  std::random_device chance;
  std::string id = "xxxxxxxx-xxxx-4xxx-8xxx-xxxxxxxxxxxx";
  for (char& digit : id) {
    if (digit == 'x') {
      digit = "0123456789abcdef"[chance() % 16];
    }
  }
  return id;
}

Options Options::from_environment() {
  return {.event_store = variable("MILEPOST_EVENT_STORE"),
          .token = variable("MILEPOST_TOKEN"),
          .tls_ca = variable("MILEPOST_TLS_CA"),
          .tls_cert = variable("MILEPOST_TLS_CERT"),
          .tls_key = variable("MILEPOST_TLS_KEY")};
}

Client::Client(std::string_view server, Options options) : options_(std::move(options)) {
  if (options_.event_store.empty()) {
    options_.event_store = beside(server);
  }
  auto api = open(std::string(server), options_);
  auto store = open(options_.event_store, options_);
  sessions_ = session::v1::SessionService::NewStub(api);
  scenarios_ = scenario::v1::ScenarioService::NewStub(api);
  templates_ = scenario::v1::TemplateService::NewStub(api);
  studies_ = study::v1::StudyService::NewStub(api);
  events_ = event::v1::EventService::NewStub(store);
}

void Client::prepare(grpc::ClientContext& context) const {
  if (!options_.token.empty()) {
    context.AddMetadata("authorization", "Bearer " + options_.token);
  }
  for (const auto& [name, value] : options_.headers) {
    context.AddMetadata(name, value);
  }
}

void Client::try_again(const Bounds& bounds, std::optional<std::chrono::milliseconds> each,
                       const std::function<grpc::Status(grpc::ClientContext&)>& attempt) const {
  Backoff backoff(options_.retry_for, bounds);
  while (true) {
    grpc::ClientContext context;
    prepare(context);
    auto may_take = each && !bounds.timeout ? Clock::duration(*each) : backoff.one_try(kLastTry);
    context.set_deadline(std::chrono::system_clock::now() +
                         std::chrono::duration_cast<std::chrono::system_clock::duration>(may_take));
    std::stop_callback cancel(bounds.stop, [&context] { context.TryCancel(); });
    grpc::Status status = attempt(context);
    if (status.ok()) {
      return;
    }
    Error error = Error::from(status, bounds.stop.stop_requested());
    if (!error.may_pass()) {
      throw error;
    }
    backoff.wait(error);
  }
}

session::v1::Session Client::create(const session::v1::SessionSpec& spec) {
  session::v1::CreateSessionRequest request;
  *request.mutable_spec() = spec;
  return create(request);
}

session::v1::Session Client::create(const session::v1::CreateSessionRequest& request, const Bounds& bounds) {
  return call(&session::v1::SessionService::Stub::CreateSession, request, bounds).session();
}

session::v1::Session Client::create_demo(unsigned seed) {
  session::v1::CreateDemoSessionRequest request;
  request.set_seed(seed);
  return call(&session::v1::SessionService::Stub::CreateDemoSession, request).session();
}

session::v1::Session Client::wait(const std::string& session_id, const Bounds& bounds) {
  auto session = full(session_id, 0, bounds);
  while (!has_ended(session)) {
    event::v1::WatchEventsRequest ends;
    ends.set_session_id(session_id);
    ends.set_after_seq(session.seq());
    ends.add_kinds(event::v1::EVENT_KIND_SESSION_COMPLETED);
    ends.add_kinds(event::v1::EVENT_KIND_SESSION_FAILED);
    ends.add_kinds(event::v1::EVENT_KIND_SESSION_CANCELLED);
    Watch turns = watch(ends, bounds);
    std::int64_t seq = 0;
    while (seq == 0) {
      auto item = turns.next();
      if (!item) {
        break;
      }
      if (const auto* event = std::get_if<event::v1::Event>(&*item)) {
        seq = event->seq();
      } else if (const auto* terminal = std::get_if<event::v1::Terminal>(&*item)) {
        seq = terminal->seq();
      }
    }
    session = full(session_id, seq, bounds);
  }
  return session;
}

Watch Client::watch(const std::string& session_id) {
  event::v1::WatchEventsRequest request;
  request.set_session_id(session_id);
  return watch(std::move(request));
}

Watch Client::watch(event::v1::WatchEventsRequest request, const Bounds& bounds) {
  auto fresh = [options = options_] {
    return event::v1::EventService::NewStub(open(options.event_store, options, true));
  };
  return Watch(std::make_unique<Watch::State>(*events_, fresh, std::move(request), options_, bounds,
                                              [this](grpc::ClientContext& context) { prepare(context); }));
}

scenario::v1::Scenario Client::upload(const std::filesystem::path& path) {
  scenario::v1::UploadHeader header;
  auto named = std::filesystem::weakly_canonical(std::filesystem::absolute(path));
  header.set_display_name((named.has_filename() ? named : named.parent_path()).stem().string());
  return upload(path, std::move(header));
}

scenario::v1::Scenario Client::upload(const std::filesystem::path& path, scenario::v1::UploadHeader header,
                                      const Bounds& bounds) {
  UploadContent content(path, std::move(header));
  scenario::v1::UploadScenarioResponse stored;
  auto again = [this](grpc::ClientContext& context) { prepare(context); };
  try_again(bounds, kUploadTimeout,
            [&](grpc::ClientContext& context) { return content.send(*scenarios_, context, again, &stored); });
  return stored.scenario();
}

session::v1::Session Client::full(const std::string& session_id, std::int64_t min_seq, const Bounds& bounds) {
  session::v1::GetSessionRequest request;
  request.set_session_id(session_id);
  request.set_view(session::v1::SESSION_VIEW_FULL);
  request.set_min_seq(min_seq);
  return call(&session::v1::SessionService::Stub::GetSession, request, bounds).session();
}

}  // namespace milepost
