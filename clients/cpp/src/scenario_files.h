// Which local files make a scenario.
//
// A configuration brings what it names and what its additional files name in turn, not the folder it lies in: that
// folder is where SUMO wrote last week's outputs. The root of the scenario is the nearest directory that holds all of it,
// so a configuration may use `../net/city.net.xml`; outside its own folder only XML is taken along, lest a configuration
// from somewhere makes its reader upload a private key. Whether the files are any good is the server's to say: what is
// named but not there is left out here, and refused there with file and line.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "milepost/scenario/v1/scenario.pb.h"

namespace milepost {

/// The files of a scenario below `root`, sorted by path as bytes; `config_path` is one of them.
struct ScenarioFiles {
  std::filesystem::path root;
  std::string config_path;
  std::vector<scenario::v1::ScenarioFile> files;
};

/// The scenario of a `.sumocfg`, or of a directory with exactly one. Throws SCENARIO_FILES.
ScenarioFiles collect(const std::filesystem::path& path);

}  // namespace milepost
