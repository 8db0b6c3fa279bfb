// A module that misbehaves: it does its deed when a packet goes to port 666, and allows all else.
//
// {"deed": "NAME"}; unknown deeds are refused. Built as any module would be, but that it knows the rings' layout, as an
// attacker would.
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "filter/module_ring.h"
#include "hyperward/module.h"

namespace {

namespace ring = hyperward::filter::ring;

constexpr uint32_t kFrameBytes = 64;
constexpr uint16_t kTrigger = 666;

struct Call {
  uint64_t judged;  // before this one
  const hyperward_host* host;
  hyperward_view* view;
  const hyperward_packet* packet;
  hyperward_answer* answer;

  // The rings, found by the frame, which lies in them.
  [[nodiscard]] ring::Shared& shared() const {
    auto* at = const_cast<uint8_t*>(packet->frame) - sizeof(ring::QuestionSlot);
    at -= judged % ring::kSlots * ring::question_bytes(kFrameBytes);
    return *reinterpret_cast<ring::Shared*>(at - sizeof(ring::Shared));
  }
};

[[noreturn]] void loop_for_ever() {
  for (;;) asm volatile("");
}

void segfault(const Call&) {
  *reinterpret_cast<volatile int*>(uintptr_t{8}) = 1;
}
void abort_with_words(const Call&) {
  std::fputs("deeds: I give up\n", stderr);
  std::abort();
}
void loop(const Call&) {
  loop_for_ever();
}
void sleep_for_ever(const Call&) {
  for (;;) ::usleep(100'000);
}
void allocate(const Call&) {
  for (;;) {
    constexpr size_t kChunk = 1 << 20;
    auto* const chunk = static_cast<char*>(std::malloc(kChunk));
    if (chunk == nullptr) std::abort();
    std::memset(chunk, 1, kChunk);
  }
}
void exit_quietly(const Call&) {
  ::_exit(0);
}
void answer_nonsense(const Call& call) {
  call.answer->verdict = 7;
}

void write_wild(const Call& call) {
  auto* const bytes = reinterpret_cast<volatile uint8_t*>(&call.shared());
  uint32_t random = 12345;
  for (size_t i = 0; i < ring::memory_bytes(kFrameBytes); ++i) {
    random = random * 1664525 + 1013904223;
    bytes[i] = static_cast<uint8_t>(random >> 24);
  }
  loop_for_ever();
}

// Its own answer, and the same once more in the place of the next one's.
void answer_twice(const Call& call) {
  ring::Shared& shared = call.shared();
  const auto* const slot = reinterpret_cast<const ring::QuestionSlot*>(call.packet->frame - sizeof(ring::QuestionSlot));
  const uint32_t written = shared.answers_written;
  for (uint32_t i = 0; i < 2; ++i) {
    ring::AnswerSlot& answer = shared.answers[(written + i) % ring::kSlots];
    std::memset(static_cast<void*>(&answer), 0, sizeof(answer));
    answer.ticket = slot->ticket;
    answer.answer.verdict = HYPERWARD_ALLOW;
  }
  shared.answers_written = written + 2;
  loop_for_ever();
}

// More answers than there are questions.
void answer_too_much(const Call& call) {
  call.shared().answers_written += 1000;
  loop_for_ever();
}

void wake_for_nothing(const Call&) {
  constexpr uint64_t kOne = 1;
  for (;;)
    for (int fd = 4; fd < 12; ++fd) static_cast<void>(!::write(fd, &kOne, sizeof(kOne)));
}

void open_file(const Call& call) {
  if (::open("/etc/hostname", O_RDONLY) >= 0) call.answer->code = 1;
}
void make_socket(const Call& call) {
  if (::socket(AF_INET, SOCK_STREAM, 0) >= 0) call.answer->code = 1;
}
void fork_away(const Call& call) {
  if (::fork() >= 0) call.answer->code = 1;
}
void start_thread(const Call&) {
  std::thread([] {}).join();
}
void kill_parent(const Call& call) {
  if (::kill(::getppid(), SIGKILL) == 0) call.answer->code = 1;
}
void execute(const Call& call) {
  ::execl("/bin/true", "true", nullptr);
  call.answer->code = 1;
}
void make_code(const Call& call) {
  void* const code = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (code != MAP_FAILED) call.answer->code = 1;
}

// How many of its descriptors can be mapped: for reading, and (times 16) for writing.
void map_descriptors(const Call& call) {
  for (int fd = 3; fd < 32; ++fd) {
    for (const auto& [protection, count] : {std::pair(PROT_READ, 1U), std::pair(PROT_READ | PROT_WRITE, 16U)}) {
      void* const mapped = ::mmap(nullptr, 4096, protection, MAP_SHARED, fd, 0);
      if (mapped == MAP_FAILED) continue;
      call.answer->code += count;
      ::munmap(mapped, 4096);
    }
  }
}

// Answers with the first bytes of the guest kernel's own words.
void read_banner(const Call& call) {
  uint64_t address = 0;
  if (call.host->symbol(call.view, "linux_banner", &address) != 0) return;
  static_cast<void>(call.host->read(call.view, address, &call.answer->code, sizeof(call.answer->code)));
}

// Answers with the guest's boot.
void tell_boot(const Call& call) {
  call.answer->code = static_cast<uint32_t>(call.host->boot(call.view));
}

struct Deed {
  std::string_view name;
  void (*done)(const Call&);
};

constexpr Deed kDeeds[] = {
    {"segfault", segfault},
    {"abort", abort_with_words},
    {"loop", loop},
    {"sleep", sleep_for_ever},
    {"allocate", allocate},
    {"exit", exit_quietly},
    {"answer nonsense", answer_nonsense},
    {"write wild", write_wild},
    {"answer twice", answer_twice},
    {"answer too much", answer_too_much},
    {"wake for nothing", wake_for_nothing},
    {"open", open_file},
    {"socket", make_socket},
    {"fork", fork_away},
    {"thread", start_thread},
    {"kill parent", kill_parent},
    {"execute", execute},
    {"make code", make_code},
    {"map descriptors", map_descriptors},
    {"read banner", read_banner},
    {"tell boot", tell_boot},
};

struct Instance {
  const hyperward_host* host;
  const Deed* deed;
  uint64_t judged = 0;
};

int create(const hyperward_host* host, const char* settings, void** instance, char* error, size_t room) {
  for (const Deed& deed : kDeeds) {
    if (std::string_view(settings).find("\"" + std::string(deed.name) + "\"") == std::string_view::npos) continue;
    *instance = new Instance{.host = host, .deed = &deed};
    return 0;
  }
  std::strncpy(error, "that is no deed of mine", room);
  return 1;
}

void destroy(void* instance) {
  delete static_cast<Instance*>(instance);
}

void judge(void* raw, hyperward_view* view, const hyperward_packet* packet, hyperward_answer* answer) {
  auto& instance = *static_cast<Instance*>(raw);
  answer->verdict = HYPERWARD_ALLOW;
  if (packet->remote_port == kTrigger)
    instance.deed->done(
        {.judged = instance.judged, .host = instance.host, .view = view, .packet = packet, .answer = answer});
  ++instance.judged;
}

size_t counters(void* instance, hyperward_counter* out, size_t room) {
  if (room < 1) return 0;
  out[0] = {.name = "judged", .value = static_cast<Instance*>(instance)->judged};
  return 1;
}

}  // namespace

HYPERWARD_EXPORT const hyperward_module hyperward_module = {
    .size = sizeof(struct hyperward_module),
    .abi = HYPERWARD_ABI,
    .name = "deeds",
    .version = "1",
    .description = "does what it should not",
    .needs = HYPERWARD_NEEDS_FRAME,
    .frame_bytes = kFrameBytes,
    .create = create,
    .destroy = destroy,
    .judge = judge,
    .counters = counters,
};
