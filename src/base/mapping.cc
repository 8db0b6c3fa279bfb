#include "base/mapping.h"

#include <sys/mman.h>

#include <cerrno>
#include <utility>

namespace hyperward {

Result<Mapping> Mapping::read_only(const Fd& fd, size_t size_bytes) {
  HW_CHECK(fd.valid());
  if (size_bytes == 0) return fail(Code::kInvalid, "cannot map an empty file");
  void* address = ::mmap(nullptr, size_bytes, PROT_READ, MAP_SHARED, fd.get(), 0);
  if (address == MAP_FAILED) return fail_errno(errno, fmt::format("map {} bytes", size_bytes));
  return Mapping(static_cast<const std::byte*>(address), size_bytes);
}

Mapping::Mapping(Mapping&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_bytes_(std::exchange(other.size_bytes_, 0)) {}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_bytes_, other.size_bytes_);
  return *this;
}

Mapping::~Mapping() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_bytes_);
}

}  // namespace hyperward
