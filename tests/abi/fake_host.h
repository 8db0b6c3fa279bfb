// A host for modules under test: its functions tell of a FakeGuest, which a test fills. One lives at a time.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "hyperward/module.h"

namespace hyperward {

template <typename Struct>
Struct sized() {
  Struct value{};
  value.size = sizeof(value);
  return value;
}

struct FakeGuest {
  FakeGuest() { current_ = this; }
  FakeGuest(const FakeGuest&) = delete;
  FakeGuest& operator=(const FakeGuest&) = delete;
  ~FakeGuest() { current_ = nullptr; }

  uint64_t boot = 1;
  hyperward_owner owner = sized<hyperward_owner>();
  std::vector<hyperward_task> tasks;
  std::map<uint64_t, std::vector<hyperward_file>> files;  // by task
  std::map<uint64_t, hyperward_socket> sockets;
  std::map<uint64_t, std::string> executables, cgroups;  // by task
  std::map<std::string, hyperward_field> fields;         // "task_struct.pid"
  std::map<uint64_t, uint64_t> memory;                   // 8 bytes each
  int broken = 0;                                        // an enum hyperward_error, of all functions that return int

  uint32_t field_lookups = 0, executable_lookups = 0;
  std::vector<std::string> log;
  std::vector<std::pair<uint8_t, uint32_t>> remarks;

  hyperward_task& add_task(uint64_t address, uint32_t pid, std::string_view comm) {
    auto task = sized<hyperward_task>();
    task.address = address;
    task.pid = pid;
    comm.copy(task.comm, sizeof(task.comm) - 1);
    files[address];
    return tasks.emplace_back(task);
  }
  void own(uint32_t uid, uint32_t pid, uint64_t task) {
    owner.known = HYPERWARD_KNOWN_UID | HYPERWARD_KNOWN_PROCESS;
    owner.uid = uid;
    owner.pid = pid;
    owner.task = task;
  }

  static const hyperward_host& host() {
    static const hyperward_host table = make_host();
    return table;
  }

 private:
  inline static FakeGuest* current_ = nullptr;

  template <typename Struct>
  static void fill(Struct* out, const Struct& value) {
    const uint32_t size = out->size;
    std::memcpy(out, &value, std::min<size_t>(size, sizeof(value)));
    out->size = size;
  }

  template <typename Key, typename Value, typename Out>
  static int give(const std::map<Key, Value>& from, const Key& key, Out out) {
    if (current_->broken != 0) return -current_->broken;
    const auto found = from.find(key);
    if (found == from.end()) return -HYPERWARD_NOT_FOUND;
    return out(found->second);
  }

  template <typename Is>
  static int give_task(hyperward_task* out, Is is) {
    if (current_->broken != 0) return -current_->broken;
    const auto found = std::find_if(current_->tasks.begin(), current_->tasks.end(), is);
    if (found == current_->tasks.end()) return -HYPERWARD_NOT_FOUND;
    fill(out, *found);
    return 0;
  }

  template <typename Struct, typename Visit>
  static int walk(const std::vector<Struct>& all, Visit visit, void* context) {
    std::all_of(all.begin(), all.end(), [&](const Struct& one) { return visit(context, &one) == 0; });
    return 0;
  }

  static int give_path(const std::map<uint64_t, std::string>& paths, uint64_t task, char* path, size_t room) {
    return give(paths, task, [&](const std::string& found) {
      if (found.size() >= room) return -HYPERWARD_LIMIT;
      std::strcpy(path, found.c_str());
      return static_cast<int>(found.size());
    });
  }

  static hyperward_host make_host() {
    auto host = sized<hyperward_host>();
    host.abi = HYPERWARD_ABI;
    host.boot = [](hyperward_view*) { return current_->boot; };
    host.owner = [](hyperward_view*, hyperward_owner* out) { fill(out, current_->owner); };
    host.for_each_task = [](hyperward_view*, hyperward_visit_task visit, void* context) {
      return current_->broken != 0 ? -current_->broken : walk(current_->tasks, visit, context);
    };
    host.task_by_pid = [](hyperward_view*, uint32_t pid, hyperward_task* out) {
      return give_task(out, [&](const hyperward_task& task) { return task.pid == pid; });
    };
    host.task_at = [](hyperward_view*, uint64_t address, hyperward_task* out) {
      return give_task(out, [&](const hyperward_task& task) { return task.address == address; });
    };
    host.for_each_file = [](hyperward_view*, uint64_t task, hyperward_visit_file visit, void* context) {
      return give(current_->files, task, [&](const auto& files) { return walk(files, visit, context); });
    };
    host.socket_at = [](hyperward_view*, uint64_t socket, hyperward_socket* out) {
      return give(current_->sockets, socket, [&](const auto& found) { return fill(out, found), 0; });
    };
    host.executable = [](hyperward_view*, uint64_t task, char* path, size_t room) {
      ++current_->executable_lookups;
      return give_path(current_->executables, task, path, room);
    };
    host.cgroup = [](hyperward_view*, uint64_t task, char* path, size_t room) {
      return give_path(current_->cgroups, task, path, room);
    };
    host.field = [](hyperward_view*, const char* type, const char* path, hyperward_field* out) {
      ++current_->field_lookups;
      return give(current_->fields, std::string(type) + "." + path, [&](const auto& found) { return *out = found, 0; });
    };
    host.symbol = [](hyperward_view*, const char*, uint64_t*) { return -HYPERWARD_NOT_FOUND; };
    host.read = [](hyperward_view*, uint64_t address, void* out, size_t bytes) {
      return give(current_->memory, address, [&](uint64_t word) {
        if (bytes > sizeof(word)) return -HYPERWARD_UNREADABLE;
        std::memcpy(out, &word, bytes);
        return 0;
      });
    };
    host.remark = [](hyperward_view*, uint8_t verdict, uint32_t code) {
      current_->remarks.emplace_back(verdict, code);
    };
    host.log = [](const char* line) { current_->log.emplace_back(line); };
    return host;
  }
};

}  // namespace hyperward
