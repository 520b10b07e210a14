#include "scenario_files.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string_view>

#include <expat.h>
#include <openssl/evp.h>

#include "milepost/error.h"

namespace milepost {
namespace {

namespace fs = std::filesystem;
using Attributes = std::map<std::string, std::string>;
using Start = std::function<void(const std::string& element, const Attributes& attributes)>;

// The contract's limit on the files of one scenario.
constexpr std::size_t kMaxFiles = 2000;
constexpr std::size_t kReadBytes = 64 * 1024;
constexpr std::string_view kConfigSuffix = ".sumocfg";
// Elements and their attributes that name a file to read; any other `file` of an additional file is written.
const std::set<std::pair<std::string, std::string>> kRead = {{"variableSpeedSign", "file"},
                                                             {"calibrator", "file"},
                                                             {"edgeData", "edgesFile"},
                                                             {"laneData", "edgesFile"}};
// Sections of a configuration whose options name files to write, if any.
const std::set<std::string> kWritingSections = {"output", "report", "gui_only"};
const std::set<std::string> kAdditionalOptions = {"additional-files", "additional", "a"};

[[noreturn]] void refuse(const std::string& message) {
  throw Error(grpc::StatusCode::INVALID_ARGUMENT, kScenarioFiles, message);
}

std::ifstream opened(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    refuse(path.string() + " cannot be read");
  }
  return file;
}

struct Parse {
  XML_Parser parser;
  const Start& start;
};

void on_start(void* user, const XML_Char* name, const XML_Char** attributes) {
  Attributes found;
  for (; *attributes != nullptr; attributes += 2) {
    found.emplace(attributes[0], attributes[1]);
  }
  static_cast<Parse*>(user)->start(name, found);
}

void on_doctype(void* user, const XML_Char*, const XML_Char*, const XML_Char*, int) {
  // It may define entities: nothing good comes of them, and the server refuses it.
  XML_StopParser(static_cast<Parse*>(user)->parser, XML_FALSE);
}

/// Calls `start` for each element up to the first error, which the server will report with its line.
void parse(const fs::path& path, const Start& start) {
  auto file = opened(path);
  std::unique_ptr<XML_ParserStruct, decltype(&XML_ParserFree)> parser(XML_ParserCreate(nullptr), XML_ParserFree);
  Parse state{parser.get(), start};
  XML_SetUserData(parser.get(), &state);
  XML_SetStartElementHandler(parser.get(), on_start);
  XML_SetStartDoctypeDeclHandler(parser.get(), on_doctype);
  std::array<char, kReadBytes> piece{};
  bool last = false;
  while (!last) {
    file.read(piece.data(), piece.size());
    last = file.gcount() < static_cast<std::streamsize>(piece.size());
    if (XML_Parse(parser.get(), piece.data(), static_cast<int>(file.gcount()), last) != XML_STATUS_OK) {
      return;
    }
  }
}

/// Options of a configuration outside the sections of outputs, each with its value.
std::vector<std::pair<std::string, std::string>> inputs(const fs::path& config) {
  std::vector<std::pair<std::string, std::string>> found;
  std::string section;
  parse(config, [&](const std::string& name, const Attributes& attributes) {
    auto value = attributes.find("value");
    value = value == attributes.end() ? attributes.find("v") : value;
    if (value == attributes.end()) {
      section = name;
    } else if (!kWritingSections.contains(section) && name.find("output") == name.npos) {
      found.emplace_back(name, value->second);
    }
  });
  return found;
}

/// What an additional file names for SUMO to read.
std::vector<std::string> read_by(const fs::path& additional) {
  std::vector<std::string> found;
  if (additional.extension() != ".gz") {
    parse(additional, [&](const std::string& name, const Attributes& attributes) {
      for (const auto& [attribute, value] : attributes) {
        if (kRead.contains({name, attribute})) {
          found.push_back(value);
        }
      }
    });
  }
  return found;
}

std::string stripped(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  auto first = text.find_first_not_of(kSpace);
  auto last = text.find_last_not_of(kSpace);
  return first == text.npos ? "" : std::string(text.substr(first, last - first + 1));
}

std::string unquoted(std::string_view name) {
  std::string plain;
  for (std::size_t at = 0; at < name.size(); at++) {
    unsigned char byte = 0;
    const char* end = name.data() + std::min(at + 3, name.size());
    if (name[at] == '%' && at + 2 < name.size() && std::from_chars(name.data() + at + 1, end, byte, 16).ptr == end) {
      plain += static_cast<char>(byte);
      at += 2;
    } else {
      plain += name[at];
    }
  }
  return plain;
}

bool is_below(const fs::path& file, const fs::path& folder) {
  return std::mismatch(folder.begin(), folder.end(), file.begin(), file.end()).first == folder.end();
}

/// Adds files that an option or attribute names, as far as they exist and may be taken along.
void add_existing(const fs::path& folder, std::string_view value, const fs::path& below, std::set<fs::path>& to) {
  for (std::size_t begin = 0; begin <= value.size();) {
    auto end = std::min(value.find(',', begin), value.size());
    std::string part = stripped(value.substr(begin, end - begin));
    begin = end + 1;
    // SUMO decodes %20 and the like in the file names of configurations it saved itself.
    for (const auto& name : {part, unquoted(part)}) {
      fs::path file = (folder / name).lexically_normal();
      bool inside = is_below(file, below) || name.ends_with(".xml") || name.ends_with(".xml.gz");
      if (!name.empty() && !fs::path(name).is_absolute() && inside &&
          (fs::is_regular_file(file) || fs::is_symlink(file))) {
        to.insert(file);
      }
    }
  }
}

/// The configuration, the files it names as far as they exist, and those its additional files name.
std::set<fs::path> closure(const fs::path& config) {
  fs::path folder = config.parent_path();
  std::set<fs::path> wanted = {config};
  for (const auto& [option, value] : inputs(config)) {
    std::set<fs::path> named;
    add_existing(folder, value, folder, named);
    if (kAdditionalOptions.contains(option)) {
      for (const auto& file : named) {
        for (const auto& inner : read_by(file)) {
          // SUMO resolves some names against the file they stand in, some against where it runs.
          add_existing(file.parent_path(), inner, folder, wanted);
          add_existing(folder, inner, folder, wanted);
        }
      }
    }
    wanted.merge(named);
  }
  return wanted;
}

fs::path config_of(const fs::path& path) {
  if (fs::is_regular_file(path)) {
    return fs::canonical(fs::absolute(path).parent_path()) / path.filename();
  }
  if (!fs::is_directory(path)) {
    refuse(path.string() + ": no such file or directory");
  }
  std::set<fs::path> found;
  for (const auto& entry : fs::directory_iterator(fs::canonical(path))) {
    std::string name = entry.path().filename().string();
    // Archives made on a Mac leave a hidden `._name` beside each file.
    if (name.ends_with(kConfigSuffix) && !name.starts_with('.')) {
      found.insert(entry.path());
    }
  }
  if (found.size() != 1) {
    refuse(path.string() + (found.empty() ? " holds no .sumocfg" : " holds several configurations, name one"));
  }
  return *found.begin();
}

void refuse_links(const fs::path& file, const fs::path& root) {
  for (fs::path part = file; part != root; part = part.parent_path()) {
    if (fs::is_symlink(part)) {
      refuse(part.string() + " is a symbolic link");
    }
  }
}

scenario::v1::ScenarioFile described(const fs::path& root, const fs::path& path) {
  auto file = opened(path);
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> digest(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  EVP_DigestInit_ex(digest.get(), EVP_sha256(), nullptr);
  std::array<char, kReadBytes> piece{};
  std::int64_t size_bytes = 0;
  while (file.read(piece.data(), piece.size()), file.gcount() > 0) {
    EVP_DigestUpdate(digest.get(), piece.data(), static_cast<std::size_t>(file.gcount()));
    size_bytes += file.gcount();
  }
  std::array<unsigned char, EVP_MAX_MD_SIZE> bytes{};
  unsigned size = 0;
  EVP_DigestFinal_ex(digest.get(), bytes.data(), &size);
  std::string hex;
  for (unsigned at = 0; at < size; at++) {
    hex += "0123456789abcdef"[bytes[at] >> 4];
    hex += "0123456789abcdef"[bytes[at] & 15];
  }
  scenario::v1::ScenarioFile described;
  described.set_path(path.lexically_relative(root).generic_string());
  described.set_sha256(hex);
  described.set_size_bytes(size_bytes);
  return described;
}

}  // namespace

ScenarioFiles collect(const fs::path& path) {
  try {
    fs::path config = config_of(path);
    auto wanted = closure(config);
    if (wanted.size() > kMaxFiles) {
      refuse(path.string() + " names " + std::to_string(wanted.size()) + " files; the limit is " +
             std::to_string(kMaxFiles));
    }
    fs::path root = config.parent_path();
    while (!std::ranges::all_of(wanted, [&](const fs::path& file) { return is_below(file, root); })) {
      root = root.parent_path();
    }
    ScenarioFiles files{root, config.lexically_relative(root).generic_string(), {}};
    for (const auto& file : wanted) {
      refuse_links(file, root);
      files.files.push_back(described(root, file));
    }
    std::ranges::sort(files.files, {}, [](const scenario::v1::ScenarioFile& file) { return file.path(); });
    return files;
  } catch (const fs::filesystem_error& unreadable) {
    refuse(unreadable.what());
  }
}

}  // namespace milepost
