#include "base/result.h"

#include <cerrno>
#include <cstring>

namespace hyperward {

std::unexpected<Error> fail_errno(int error_number, std::string_view what) {
  Code code = Code::kSystem;
  if (error_number == EPERM || error_number == EACCES) code = Code::kPermission;
  if (error_number == ENOENT || error_number == ESRCH) code = Code::kNotFound;
  return fail(code, "{}: {}", what, std::strerror(error_number));
}

}  // namespace hyperward
