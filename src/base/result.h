// What an operation gives: a value, or an Error that says what was tried and with what.
//
// An Error is made where the fault is seen, gets context once per layer on its way up, and is logged or printed once,
// at the top. Our own mistakes are not Errors: they fail HW_CHECK, in release builds too.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <expected>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace hyperward {

enum class Code : uint8_t {
  kInvalid,       // the input is wrong: a user's, a guest's, or a peer's
  kNotFound,      // what was asked for is not there
  kUnreadable,    // guest memory that is not backed by RAM, or a translation that is not present
  kInconsistent,  // guest memory changed while it was read, or contradicts itself
  kLimit,         // a bound was reached before the work was done
  kUnsupported,   // the guest, the kernel or the machine lacks what is needed
  kPermission,    // the operating system refused
  kSystem,        // any other failure of the operating system
};

struct Error {
  Code code;
  std::string message;
};

template <typename T>
using Result = std::expected<T, Error>;

template <typename... Args>
[[nodiscard]] std::unexpected<Error> fail(Code code, fmt::format_string<Args...> text, Args&&... args) {
  return std::unexpected(Error{code, fmt::format(text, std::forward<Args>(args)...)});
}

// Puts what was being done in front of what went wrong: "attach to the kernel: no BTF".
template <typename... Args>
[[nodiscard]] std::unexpected<Error> within(Error error, fmt::format_string<Args...> text, Args&&... args) {
  return std::unexpected(
      Error{error.code, fmt::format("{}: {}", fmt::format(text, std::forward<Args>(args)...), error.message)});
}

// The failed call's errno, in words: kPermission for EPERM and EACCES, kNotFound for ENOENT and ESRCH, else kSystem.
[[nodiscard]] std::unexpected<Error> fail_errno(int error_number, std::string_view what);

[[noreturn]] inline void check_failed(const char* condition, const char* file, int line) {
  fmt::print(stderr, "{}:{}: broken invariant: {}\n", file, line, condition);
  std::abort();
}

}  // namespace hyperward

#define HW_CONCAT_(a, b) a##b
#define HW_CONCAT(a, b) HW_CONCAT_(a, b)

// HW_TRY(auto value, call());  binds the value, or returns the Error from the function around it.
#define HW_TRY(declaration, expression) HW_TRY_(HW_CONCAT(hw_try_, __LINE__), declaration, expression)
#define HW_TRY_(result, declaration, expression)                  \
  auto result = (expression);                                     \
  if (!result) return std::unexpected(std::move(result).error()); \
  declaration = *std::move(result)

// HW_OK(call());  the same for a Result<void>, or when the value is not wanted.
#define HW_OK(expression)                                                                    \
  do {                                                                                       \
    if (auto hw_ok = (expression); !hw_ok) return std::unexpected(std::move(hw_ok).error()); \
  } while (false)

#define HW_CHECK(condition) \
  ((condition) ? static_cast<void>(0) : ::hyperward::check_failed(#condition, __FILE__, __LINE__))
