// The driver of the C++ client (conformance.proto says what a driver is).

#include <arpa/inet.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <condition_variable>
#include <map>
#include <memory>
#include <string>
#include <thread>

#include "parts.h"

namespace {

namespace fs = std::filesystem;
using Sessions = milepost::session::v1::SessionService::Stub;
using Scenarios = milepost::scenario::v1::ScenarioService::Stub;
using Templates = milepost::scenario::v1::TemplateService::Stub;
using Studies = milepost::study::v1::StudyService::Stub;
using Events = milepost::event::v1::EventService::Stub;

/// The client that a step's options ask for.
milepost::Client connected(const pb::Options& wish) {
  const auto& target = wish.target();
  auto options = milepost::Options::from_environment();
  options.headers = {wish.metadata().begin(), wish.metadata().end()};
  if (target.has_server() || target.has_event_store()) {
    options.event_store = target.event_store();
  }
  if (target.has_token()) {
    options.token = target.token();
  }
  if (target.has_tls_ca_pem()) {
    options.tls_ca = fs::temp_directory_path() / ("conformance-ca-" + std::to_string(getpid()) + ".pem");
    std::ofstream(options.tls_ca) << target.tls_ca_pem();
  }
  return milepost::Client(target.has_server() ? target.server() : std::getenv("MILEPOST_SERVER"), options);
}

void act(milepost::Client& client, const pb::Step& step, const milepost::Bounds& bounds, pb::Outcome& outcome) {
  switch (step.action_case()) {
// One call: its name in the step, the stub that has it, its name there.
#define CALL(Case, field, Stub, Method)                                                    \
  case pb::Step::Case:                                                                     \
    *outcome.mutable_##field() = client.call(&Stub::Method, step.field(), bounds);         \
    return;
    CALL(kBatchCreateSessions, batch_create_sessions, Sessions, BatchCreateSessions)
    CALL(kCreateDemoSession, create_demo_session, Sessions, CreateDemoSession)
    CALL(kGetSession, get_session, Sessions, GetSession)
    CALL(kListSessions, list_sessions, Sessions, ListSessions)
    CALL(kStartSession, start_session, Sessions, StartSession)
    CALL(kCancelSession, cancel_session, Sessions, CancelSession)
    CALL(kUpdateSession, update_session, Sessions, UpdateSession)
    CALL(kSuspendSession, suspend_session, Sessions, SuspendSession)
    CALL(kResumeSession, resume_session, Sessions, ResumeSession)
    CALL(kRestartSession, restart_session, Sessions, RestartSession)
    CALL(kTerminateSession, terminate_session, Sessions, TerminateSession)
    CALL(kCreateCheckpoint, create_checkpoint, Sessions, CreateCheckpoint)
    CALL(kRollbackSession, rollback_session, Sessions, RollbackSession)
    CALL(kForkSession, fork_session, Sessions, ForkSession)
    CALL(kApplyIntervention, apply_intervention, Sessions, ApplyIntervention)
    CALL(kSetPace, set_pace, Sessions, SetPace)
    CALL(kStepSession, step_session, Sessions, StepSession)
    CALL(kRunUntil, run_until, Sessions, RunUntil)
    CALL(kDeleteSession, delete_session, Sessions, DeleteSession)
    CALL(kUndeleteSession, undelete_session, Sessions, UndeleteSession)
    CALL(kGetSessionState, get_session_state, Sessions, GetSessionState)
    CALL(kExplainSession, explain_session, Sessions, ExplainSession)
    CALL(kGetScenario, get_scenario, Scenarios, GetScenario)
    CALL(kListScenarios, list_scenarios, Scenarios, ListScenarios)
    CALL(kCreateTemplate, create_template, Templates, CreateTemplate)
    CALL(kCreateStudy, create_study, Studies, CreateStudy)
    CALL(kGetRanking, get_ranking, Studies, GetRanking)
    CALL(kDeleteStudy, delete_study, Studies, DeleteStudy)
    CALL(kReadEvents, read_events, Events, ReadEvents)
    CALL(kGetHead, get_head, Events, GetHead)
    CALL(kQueryMetrics, query_metrics, Events, QueryMetrics)
#undef CALL
    case pb::Step::kCreateSession:
      *outcome.mutable_create_session()->mutable_session() = client.create(step.create_session(), bounds);
      return;
    case pb::Step::kCreateAndWait: {
      auto session = client.create(step.create_and_wait(), bounds);
      *outcome.mutable_create_and_wait() = client.wait(session.session_id(), bounds);
      return;
    }
    case pb::Step::kUploadScenario: {
      milepost::scenario::v1::UploadHeader header;
      header.set_display_name(step.upload_scenario().display_name());
      *outcome.mutable_upload_scenario() = client.upload(step.upload_scenario().path(), header, bounds);
      return;
    }
    case pb::Step::kWatch:
      *outcome.mutable_watch() = watch(client, step.watch(), bounds);
      return;
    case pb::Step::kWatchAll:
      *outcome.mutable_watch_all() = watch_all(client, step.watch_all());
      return;
    case pb::Step::kWatchStudy:
      *outcome.mutable_watch_study() = watch_study(client, step.watch_study());
      return;
    case pb::Step::kDecode:
      *outcome.mutable_decode() = decode(step.decode());
      return;
    case pb::Step::ACTION_NOT_SET:
      outcome.mutable_unsupported()->set_reason("a step of a later version");
  }
}

pb::Outcome perform(const pb::Step& step, std::map<std::string, milepost::Client>& clients) {
  pb::Outcome outcome;
  outcome.set_step_id(step.step_id());
  pb::Options who = step.options();
  who.clear_deadline();
  who.clear_cancel_after();
  std::string key = who.ShortDebugString();
  std::stop_source stop;
  milepost::Bounds bounds{.stop = stop.get_token()};
  if (step.options().has_deadline()) {
    bounds.timeout = std::chrono::ceil<std::chrono::milliseconds>(length(step.options().deadline()));
  }
  std::jthread canceller;
  if (step.options().has_cancel_after()) {
    canceller = std::jthread([&stop, after = length(step.options().cancel_after())](std::stop_token over) {
      std::mutex mutex;
      std::unique_lock lock(mutex);
      std::condition_variable_any waiting;
      if (!waiting.wait_for(lock, over, after, [] { return false; }) && !over.stop_requested()) {
        stop.request_stop();
      }
    });
  }
  try {
    auto known = clients.find(key);
    if (known == clients.end()) {
      known = clients.emplace(key, connected(step.options())).first;
    }
    act(known->second, step, bounds, outcome);
  } catch (const milepost::Error& error) {
    *outcome.mutable_error() = typed(error);
  } catch (const std::exception& fault) {
    outcome.mutable_unsupported()->set_reason(fault.what());
  }
  return outcome;
}

}  // namespace

pb::Error typed(const milepost::Error& error) {
  pb::Error said;
  said.set_code(error.code);
  said.set_reason(error.reason);
  said.set_domain(error.domain);
  said.mutable_metadata()->insert(error.metadata.begin(), error.metadata.end());
  said.set_message(error.message);
  for (const auto& violation : error.violations) {
    auto& field = *said.add_field_violations();
    field.set_field(violation.field);
    field.set_description(violation.description);
  }
  if (error.retry_after) {
    auto seconds = std::chrono::floor<std::chrono::seconds>(*error.retry_after);
    said.mutable_retry_delay()->set_seconds(seconds.count());
    said.mutable_retry_delay()->set_nanos(static_cast<int>((*error.retry_after - seconds).count()));
  }
  return said;
}

int main() {
  std::map<std::string, milepost::Client> clients;
  std::uint32_t size = 0;
  while (std::cin.read(reinterpret_cast<char*>(&size), sizeof size)) {
    std::string encoded(ntohl(size), '\0');
    std::cin.read(encoded.data(), static_cast<std::streamsize>(encoded.size()));
    pb::Step step;
    step.ParseFromString(encoded);
    std::string outcome = perform(step, clients).SerializeAsString();
    size = htonl(static_cast<std::uint32_t>(outcome.size()));
    std::cout.write(reinterpret_cast<const char*>(&size), sizeof size) << outcome << std::flush;
  }
}
