#include "base/mapping.h"

#include <sys/mman.h>

#include <cerrno>
#include <utility>

namespace hyperward {

Result<Mapping> Mapping::read_only(const Fd& fd, size_t size_bytes) {
  return map(fd, size_bytes, false);
}

Result<Mapping> Mapping::read_write(const Fd& fd, size_t size_bytes) {
  return map(fd, size_bytes, true);
}

Result<Mapping> Mapping::map(const Fd& fd, size_t size_bytes, bool writable) {
  HW_CHECK(fd.valid());
  if (size_bytes == 0) return fail(Code::kInvalid, "cannot map an empty file");
  void* address = ::mmap(nullptr, size_bytes, PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED, fd.get(), 0);
  if (address == MAP_FAILED) return fail_errno(errno, fmt::format("map {} bytes", size_bytes));
  return Mapping(static_cast<std::byte*>(address), size_bytes, writable);
}

Mapping::Mapping(Mapping&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_bytes_(std::exchange(other.size_bytes_, 0)),
      writable_(other.writable_) {}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_bytes_, other.size_bytes_);
  std::swap(writable_, other.writable_);
  return *this;
}

Mapping::~Mapping() {
  if (data_ != nullptr) ::munmap(data_, size_bytes_);
}

}  // namespace hyperward
