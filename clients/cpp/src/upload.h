// One try of an upload. Files travel one by one, and only those the server does not hold yet, so a try goes on where the
// one before broke off; a zip archive travels as it is.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <grpcpp/client_context.h>

#include "milepost/scenario/v1/scenario_service.grpc.pb.h"

namespace milepost {

/// What is uploaded: local files, a zip archive being one by its content. Throws SCENARIO_FILES.
class UploadContent {
 public:
  UploadContent(const std::filesystem::path& path, scenario::v1::UploadHeader header);

  /// One try, in `context`; `prepare` readies the context of what has to be asked before.
  grpc::Status send(scenario::v1::ScenarioService::Stub& stub, grpc::ClientContext& context,
                    const std::function<void(grpc::ClientContext&)>& prepare,
                    scenario::v1::UploadScenarioResponse* stored) const;

 private:
  scenario::v1::UploadHeader header_;
  // Where each file of the manifest is; of a zip archive the archive, with no path.
  std::vector<std::pair<std::filesystem::path, std::string>> sources_;
};

}  // namespace milepost
