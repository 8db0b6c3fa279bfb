// What a module was asked when its process died: a file to ask it again.
//
// JSON lines. The first: {"recording": 1, "module": NAME, "version": VERSION, "settings": TEXT}. Each further one is a
// question, as hyperward/module.h names its fields; addresses and frames in hex. Oldest first: the first is the one
// that the module had in hand, the others waited.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "filter/module.h"

namespace hyperward::filter {

namespace ring {
class AskingEnd;
}

struct Recording {
  static constexpr unsigned kFormat = 1;
  static constexpr size_t kQuestionsMax = 4096;

  // With its own frame.
  struct Asked {
    Question question;
    std::vector<std::byte> frame;
  };

  std::string module, version, settings;
  std::vector<Asked> asked;
};

// kInvalid: it is no recording, or one of another format; the line is named. kLimit: more than kQuestionsMax.
[[nodiscard]] Result<Recording> read_recording(const std::filesystem::path& file);
[[nodiscard]] Result<Recording> parse_recording(std::string_view text);
[[nodiscard]] std::string to_text(const ModuleInfo& module, const std::string& settings,
                                  std::span<const Question> questions);

// Records the oldest `count` questions in hand in a new file of `folder`, which is made if need be; of each module the
// newest kRecordingsKept stay. Gives the file.
constexpr size_t kRecordingsKept = 16;
[[nodiscard]] Result<std::filesystem::path> record(const std::filesystem::path& folder, const ModuleInfo& module,
                                                   const std::string& settings, const ring::AskingEnd& ring,
                                                   size_t count);

}  // namespace hyperward::filter
