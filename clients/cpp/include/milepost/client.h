#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include "milepost/error.h"
#include "milepost/event/v1/event_service.grpc.pb.h"
#include "milepost/options.h"
#include "milepost/scenario/v1/scenario_service.grpc.pb.h"
#include "milepost/scenario/v1/template_service.grpc.pb.h"
#include "milepost/session/v1/session_service.grpc.pb.h"
#include "milepost/study/v1/study_service.grpc.pb.h"
#include "milepost/watch.h"

namespace milepost {

/// Where `milepost up` serves.
inline constexpr std::string_view kDefaultServer = "127.0.0.1:7400";

/// A name for a wish (UUID): all tries of it carry the same.
std::string new_request_id();

/// A client of a Milepost server, for any number of threads. Everything throws `Error`.
class Client {
 public:
  /// A client of the session_api at `server`, `host:port`. Connects on first use.
  ///
  /// Throws std::invalid_argument for an address that is none, std::runtime_error for a file that cannot be read.
  explicit Client(std::string_view server, Options options = Options::from_environment());

  /// Makes any call of SessionService, StudyService, ScenarioService, TemplateService or EventService, again while the
  /// server is away or several writers met:
  ///
  ///     client.call(&SessionService::Stub::SuspendSession, request);
  ///
  /// The contracts name effect, precondition and errors of each. A request that has a `request_id` gets one unless it
  /// brings its own, the same in all tries, so that a command is carried out once; give your own where a retry may come
  /// from another process.
  template <class Stub, class Request, class Response>
  Response call(grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                std::type_identity_t<Request> request, const Bounds& bounds = {}) {
    if constexpr (requires { request.set_request_id(std::string()); }) {
      if (request.request_id().empty()) {
        request.set_request_id(new_request_id());
      }
    }
    Response response;
    try_again(bounds, {}, [&](grpc::ClientContext& context) {
      response.Clear();
      return (stub<Stub>().*method)(&context, request, &response);
    });
    return response;
  }

  /// Creates a session and queues it. It is durable when this returns.
  session::v1::Session create(const session::v1::SessionSpec& spec);
  /// As above, with all there is to say.
  session::v1::Session create(const session::v1::CreateSessionRequest& request, const Bounds& bounds = {});
  /// Creates a session of the bundled city and queues it.
  session::v1::Session create_demo(unsigned seed);
  /// Waits for the session's end, however long and however often it is suspended; the FULL session then.
  session::v1::Session wait(const std::string& session_id, const Bounds& bounds = {});

  /// Follows a session's log from its begin: history, then live, until it ends. The client must outlive it.
  Watch watch(const std::string& session_id);
  /// As above, with all there is to say: from where, which kinds, phases, frames.
  Watch watch(event::v1::WatchEventsRequest request, const Bounds& bounds = {});

  /// Uploads a `.sumocfg`, a directory with exactly one, or a zip archive; validated before it is stored.
  ///
  /// Throws SCENARIO_FILES for what is wrong with the local files, SCENARIO_INVALID with a violation per finding
  /// (`file:line`) for what is wrong with the scenario.
  scenario::v1::Scenario upload(const std::filesystem::path& path);
  /// As above, with a display name, or to have the files validated only; the rest of the header is filled in.
  scenario::v1::Scenario upload(const std::filesystem::path& path, scenario::v1::UploadHeader header,
                                const Bounds& bounds = {});

  /// The generated stub of a service, for what is not above; `prepare` its contexts.
  template <class Stub>
  Stub& stub() {
    if constexpr (std::is_same_v<Stub, session::v1::SessionService::Stub>) {
      return *sessions_;
    } else if constexpr (std::is_same_v<Stub, scenario::v1::ScenarioService::Stub>) {
      return *scenarios_;
    } else if constexpr (std::is_same_v<Stub, scenario::v1::TemplateService::Stub>) {
      return *templates_;
    } else if constexpr (std::is_same_v<Stub, study::v1::StudyService::Stub>) {
      return *studies_;
    } else {
      static_assert(std::is_same_v<Stub, event::v1::EventService::Stub>, "a service that clients have no use for");
      return *events_;
    }
  }
  /// Puts in what goes with every call: the token and `Options::headers`.
  void prepare(grpc::ClientContext& context) const;

 private:
  /// Makes a call, tried again; each try may take `each`, unset: what is left of `retry_for`.
  void try_again(const Bounds& bounds, std::optional<std::chrono::milliseconds> each,
                 const std::function<grpc::Status(grpc::ClientContext&)>& attempt) const;
  session::v1::Session full(const std::string& session_id, std::int64_t min_seq, const Bounds& bounds);

  Options options_;
  std::unique_ptr<session::v1::SessionService::Stub> sessions_;
  std::unique_ptr<scenario::v1::ScenarioService::Stub> scenarios_;
  std::unique_ptr<scenario::v1::TemplateService::Stub> templates_;
  std::unique_ptr<study::v1::StudyService::Stub> studies_;
  std::unique_ptr<event::v1::EventService::Stub> events_;
};

}  // namespace milepost
