#include "upload.h"

#include <array>
#include <fstream>
#include <set>

#include "milepost/error.h"
#include "scenario_files.h"

namespace milepost {
namespace {

constexpr std::size_t kChunkBytes = 512 * 1024;
constexpr std::string_view kZipMagic = "PK\x03\x04";

bool is_zip(const std::filesystem::path& path) {
  std::array<char, kZipMagic.size()> begin{};
  return std::filesystem::is_regular_file(path) &&
         std::ifstream(path, std::ios::binary).read(begin.data(), begin.size()) &&
         std::string_view(begin.data(), begin.size()) == kZipMagic;
}

/// Sends a file as chunks that call it `path`; an empty file is one empty chunk. False: the server hears no more.
bool write(grpc::ClientWriter<scenario::v1::UploadScenarioRequest>& to, const std::filesystem::path& source,
           const std::string& path) {
  std::ifstream file(source, std::ios::binary);
  if (!file) {
    throw Error(grpc::StatusCode::INVALID_ARGUMENT, kScenarioFiles, source.string() + " cannot be read");
  }
  scenario::v1::UploadScenarioRequest request;
  auto& chunk = *request.mutable_chunk();
  chunk.set_path(path);
  std::int64_t offset = 0;
  std::size_t size = 0;
  do {
    auto& content = *chunk.mutable_content();
    content.resize(kChunkBytes);
    file.read(content.data(), static_cast<std::streamsize>(kChunkBytes));
    size = static_cast<std::size_t>(file.gcount());
    content.resize(size);
    chunk.set_offset(offset);
    if ((size > 0 || offset == 0) && !to.Write(request)) {
      return false;
    }
    offset += static_cast<std::int64_t>(size);
  } while (size == kChunkBytes);
  return true;
}

}  // namespace

UploadContent::UploadContent(const std::filesystem::path& path, scenario::v1::UploadHeader header)
    : header_(std::move(header)) {
  if (is_zip(path)) {
    header_.mutable_zip();
    sources_.emplace_back(path, "");
    return;
  }
  ScenarioFiles files = collect(path);
  header_.set_config_path(files.config_path);
  for (auto& file : files.files) {
    sources_.emplace_back(files.root / file.path(), file.path());
    *header_.mutable_manifest()->add_files() = std::move(file);
  }
}

grpc::Status UploadContent::send(scenario::v1::ScenarioService::Stub& stub, grpc::ClientContext& context,
                                 const std::function<void(grpc::ClientContext&)>& prepare,
                                 scenario::v1::UploadScenarioResponse* stored) const {
  std::set<std::string> missing = {""};
  if (header_.has_manifest()) {
    scenario::v1::FindMissingFilesRequest request;
    *request.mutable_files() = header_.manifest().files();
    scenario::v1::FindMissingFilesResponse answer;
    grpc::ClientContext asking;
    prepare(asking);
    asking.set_deadline(context.deadline());
    if (auto status = stub.FindMissingFiles(&asking, request, &answer); !status.ok()) {
      return status;
    }
    missing = {answer.paths().begin(), answer.paths().end()};
  }
  auto to = stub.UploadScenario(&context, stored);
  scenario::v1::UploadScenarioRequest first;
  *first.mutable_header() = header_;
  bool open = to->Write(first);
  try {
    for (auto source = sources_.begin(); open && source != sources_.end(); ++source) {
      if (missing.contains(source->second)) {
        open = write(*to, source->first, source->second);
      }
    }
  } catch (...) {
    context.TryCancel();
    to->Finish();
    throw;
  }
  to->WritesDone();
  // A server that refused early is heard out here.
  return to->Finish();
}

}  // namespace milepost
