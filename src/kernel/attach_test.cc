// What attaching believes, and what it does not. Real kernels are attached to in tests/guest; here each lie is told
// alone.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "kernel/fake_kernel.h"
#include "kernel/kernel.h"

namespace hyperward::kernel {
namespace {

using memory::FakeMemory;
using memory::kPageSize;
using testing::HasSubstr;

constexpr uint64_t kRamBytes = 24 << 20;
constexpr uint64_t kElsewhere = 8 << 20;  // where a second kernel starts

class Attach : public testing::Test {
 protected:
  Error error() const {
    auto kernel = Kernel::attach(memory_);
    return kernel ? Error{Code::kInvalid, "attached to " + (*kernel)->release()} : std::move(kernel).error();
  }

  FakeMemory memory_{kRamBytes};
};

TEST_F(Attach, finds_a_kernel_with_its_symbols_and_types) {
  FakeKernelOptions options;
  options.types.structure("task_struct", 64, {{"comm", options.types.integer("char", 1), 8 * 40}});
  const FakeKernel fake(memory_, options);
  const auto kernel = Kernel::attach(memory_);
  ASSERT_TRUE(kernel) << kernel.error().message;
  EXPECT_EQ((*kernel)->release(), "6.1.0-50-cloud-amd64");
  EXPECT_EQ((*kernel)->symbol("linux_banner"), fake.address_of("linux_banner"));
  EXPECT_EQ((*kernel)->symbols().count(), fake.symbols().size());
  EXPECT_EQ((*kernel)->types().field("task_struct", "comm")->offset_bytes, 40U);
}

TEST_F(Attach, copes_with_every_layout_of_the_symbol_tables) {
  for (const AddressEncoding encoding : {AddressEncoding::kAbsolute, AddressEncoding::kPercpuAbsolute,
                                         AddressEncoding::kBaseRelative, AddressEncoding::kSelfRelative}) {
    FakeMemory memory(kRamBytes);
    const FakeKernel fake(memory, {.encoding = encoding});
    const auto kernel = Kernel::attach(memory);
    ASSERT_TRUE(kernel) << kernel.error().message;
    EXPECT_EQ((*kernel)->symbols().encoding(), encoding);
    EXPECT_EQ((*kernel)->symbol("function_1199"), fake.address_of("function_1199"));
  }
}

TEST_F(Attach, searches_for_symbols_that_the_note_does_not_name) {
  const FakeKernel fake(memory_, {.note_names_kallsyms = false});
  const auto kernel = Kernel::attach(memory_);
  ASSERT_TRUE(kernel) << kernel.error().message;
  EXPECT_EQ((*kernel)->symbol("function_1199"), fake.address_of("function_1199"));
}

TEST_F(Attach, walks_five_levels_when_the_kernel_does) {
  FakeKernel fake(memory_, {.levels = 5});
  const memory::GuestVirtual object = fake.allocate(8);
  fake.put<uint64_t>(object, 42);
  const auto kernel = Kernel::attach(memory_);
  ASSERT_TRUE(kernel) << kernel.error().message;
  EXPECT_EQ((*kernel)->read<uint64_t>(object), 42U);
  EXPECT_EQ((*kernel)->address_space().paging().levels, 5U);
}

TEST_F(Attach, reads_the_direct_map_the_image_and_nothing_else) {
  FakeKernel fake(memory_, {});
  const memory::GuestVirtual object = fake.allocate(8);
  fake.put<uint64_t>(object, 42);
  const auto kernel = Kernel::attach(memory_);
  ASSERT_TRUE(kernel) << kernel.error().message;
  EXPECT_EQ((*kernel)->read<uint64_t>(object), 42U);
  EXPECT_EQ((*kernel)->read<uint64_t>(fake.address_of("page_offset_base")), kFakeDirectMap.value);
  EXPECT_EQ((*kernel)->translate(fake.address_of("page_offset_base")), fake.where(fake.address_of("page_offset_base")));
  for (const uint64_t address : {uint64_t{0}, uint64_t{0x7fff00000000}, kFakeDirectMap.value + kRamBytes - 4,
                                 kFakeImage.value + kFakeImageBytes - 4, kFakeImage.value - 4, ~uint64_t{0}})
    EXPECT_EQ((*kernel)->read<uint64_t>({address}), std::nullopt) << fmt::format("{:#x}", address);
}

TEST_F(Attach, knows_each_processors_variables) {
  const FakeKernel fake(memory_, {.cpus = 3});
  const auto kernel = Kernel::attach(memory_);
  ASSERT_TRUE(kernel) << kernel.error().message;
  EXPECT_EQ((*kernel)->cpu_count(), 3U);
  EXPECT_EQ((*kernel)->percpu({0x1000}, 2), kFakeDirectMap + 0x201000);
}

TEST_F(Attach, reads_a_processs_memory_by_its_page_table) {
  FakeKernel fake(memory_, {});
  const memory::GuestVirtual pgd = fake.allocate(kPageSize);
  fake.put<uint64_t>(pgd + 8, fake.where(fake.allocate(kPageSize)).value | 7);
  const auto kernel = Kernel::attach(memory_);
  ASSERT_TRUE(kernel) << kernel.error().message;
  EXPECT_EQ((*kernel)->user_space(pgd).root(), fake.where(pgd));
  EXPECT_FALSE((*kernel)->user_space({0x1234}).translate({0}));
}

TEST_F(Attach, says_that_empty_memory_holds_no_kernel) {
  EXPECT_EQ(error().code, Code::kNotFound);
  EXPECT_THAT(error().message, HasSubstr("firmware"));
}

TEST_F(Attach, says_that_random_memory_holds_no_kernel) {
  std::mt19937_64 random(1);
  for (uint64_t address = 0; address < kRamBytes; address += 8) memory_.put({address}, random());
  EXPECT_EQ(error().code, Code::kNotFound);
}

TEST_F(Attach, says_what_an_unsupported_kernel_lacks) {
  const FakeKernel fake(memory_, {.has_types = false});
  EXPECT_EQ(error().code, Code::kUnsupported);
  EXPECT_THAT(error().message, HasSubstr("CONFIG_DEBUG_INFO_BTF"));
}

TEST_F(Attach, says_that_a_kernel_without_symbols_is_unsupported) {
  const FakeKernel fake(memory_, {.note_names_kallsyms = false, .has_symbols = false});
  EXPECT_EQ(error().code, Code::kUnsupported);
  EXPECT_THAT(error().message, HasSubstr("CONFIG_KALLSYMS"));
}

TEST_F(Attach, knows_when_another_kernel_has_taken_over) {
  const auto attach_to_new = [this] {
    const FakeKernel fake(memory_, {});
    return *Kernel::attach(memory_);
  };
  const auto kernel = attach_to_new();
  EXPECT_TRUE(kernel->is_running());
  // One that starts elsewhere writes over the trampoline alone.
  const FakeKernel next(memory_, {.release = "6.12.0-next", .physical_offset = kElsewhere});
  EXPECT_FALSE(kernel->is_running());
  // One that starts in the same place writes its own note.
  const auto again = attach_to_new();
  EXPECT_TRUE(again->is_running());
  const FakeKernel other(memory_, {.release = "6.1.0-51-cloud-amd64"});
  EXPECT_FALSE(again->is_running());
}

TEST_F(Attach, tells_one_boot_of_a_kernel_in_the_same_place_from_another) {
  constexpr uint32_t kCanaryOffset = 16;
  FakeKernelOptions options;
  options.types.structure("task_struct", 64,
                          {{"stack_canary", options.types.integer("unsigned long", 8), 8 * kCanaryOffset}});
  FakeKernel fake(memory_, options);
  const auto identity = [&] { return (*Kernel::attach(memory_))->boot_identity(); };
  fake.put(fake.address_of("init_task") + kCanaryOffset, uint64_t{1});
  const uint64_t first = identity();
  EXPECT_EQ(identity(), first);
  fake.put(fake.address_of("init_task") + kCanaryOffset, uint64_t{2});
  EXPECT_NE(identity(), first);
}

// -- Notes that lie ----------------------------------------------------------------------------------------------

std::string replace(std::string text, std::string_view what, std::string_view with) {
  const size_t at = text.find(what);
  HW_CHECK(at != std::string::npos);
  return text.replace(at, what.size(), with);
}

TEST_F(Attach, takes_no_note_that_the_kernels_own_contradicts) {
  FakeKernel fake(memory_, {});
  const memory::GuestPhysical forged = fake.where(fake.allocate(kPageSize));
  fake.write_note(forged, fake.note_text() + "NUMBER(forged)=1\n");
  memory_.put<uint64_t>(fake.note(), 0);
  EXPECT_EQ(error().code, Code::kInconsistent);
  EXPECT_THAT(error().message, HasSubstr("does not know this VMCOREINFO"));
}

TEST_F(Attach, takes_no_note_with_another_release) {
  FakeKernel fake(memory_, {});
  fake.write_note(fake.note(), replace(fake.note_text(), "6.1.0-50-cloud-amd64", "6.1.0-49-cloud-amd64"));
  EXPECT_EQ(error().code, Code::kNotFound);
  EXPECT_THAT(error().message, HasSubstr("init_uts_ns"));
}

TEST_F(Attach, takes_no_note_with_addresses_beside_the_page_tables) {
  FakeKernel fake(memory_, {});
  const std::string text = fake.note_text();
  for (const std::string_view wrong :
       {"swapper_pg_dir)=ffffffff9ba01000", "swapper_pg_dir)=ffff888000000000", "swapper_pg_dir)=0",
        "swapper_pg_dir)=ffffffffffffffff", "swapper_pg_dir)=nonsense"}) {
    fake.write_note(fake.note(), replace(text, "swapper_pg_dir)=ffffffff9ba00000", wrong));
    EXPECT_NE(error().message.find("find a Linux kernel"), std::string::npos) << wrong;
  }
}

TEST_F(Attach, takes_no_symbol_tables_outside_the_image) {
  FakeKernel fake(memory_, {});
  const std::string text = fake.note_text();
  const size_t at = text.find("kallsyms_names)=") + 16;
  std::string forged = text;
  forged.replace(at, 16, fmt::format("{:016x}", fake.allocate(1 << 16).value));
  fake.write_note(fake.note(), forged);
  EXPECT_EQ(error().code, Code::kInvalid);
}

TEST_F(Attach, is_not_misled_by_forged_notes_beside_the_true_one) {
  FakeKernel fake(memory_, {});
  for (int i = 0; i < 600; ++i) {
    std::string text = fake.note_text();                                            // a copy, any number of them;
    if (i % 3 == 1) text = replace(text, "6.1.0-50", fmt::format("6.1.{}-50", i));  // another release;
    if (i % 20 == 2) text += fmt::format("NUMBER(forged)={}\n", i);                 // or something of its own
    fake.write_note(fake.where(fake.allocate(kPageSize)), text);
  }
  const auto kernel = Kernel::attach(memory_);
  ASSERT_TRUE(kernel) << kernel.error().message;
  EXPECT_EQ((*kernel)->release(), "6.1.0-50-cloud-amd64");
}

TEST_F(Attach, prefers_the_kernel_that_owns_the_trampoline) {
  const FakeKernel dead(memory_, {.release = "5.10.0-dead", .has_trampoline = false, .physical_offset = kElsewhere});
  const FakeKernel running(memory_, {});
  const auto kernel = Kernel::attach(memory_);
  ASSERT_TRUE(kernel) << kernel.error().message;
  EXPECT_EQ((*kernel)->release(), "6.1.0-50-cloud-amd64");
}

TEST_F(Attach, refuses_to_choose_between_two_kernels) {
  const FakeKernel one(memory_, {.release = "5.10.0-one", .has_trampoline = false, .physical_offset = kElsewhere});
  const FakeKernel other(memory_, {.has_trampoline = false});
  EXPECT_EQ(error().code, Code::kInconsistent);
  EXPECT_THAT(error().message, HasSubstr("5.10.0-one"));
}

TEST_F(Attach, does_without_a_trampoline_when_there_is_one_kernel) {
  const FakeKernel fake(memory_, {.has_trampoline = false});
  EXPECT_TRUE(Kernel::attach(memory_));
}

TEST_F(Attach, survives_any_single_page_of_garbage) {
  std::mt19937_64 random(1);
  const FakeKernel fake(memory_, {});
  const std::vector<std::byte> whole(memory_.bytes().begin(), memory_.bytes().end());
  for (uint64_t page = 1 << 20; page < 7 << 20; page += 16 * kPageSize) {
    for (uint64_t at = 0; at < kPageSize; at += 8) memory_.put({page + at}, random());
    const auto kernel = Kernel::attach(memory_);
    if (kernel) (*kernel)->for_each_symbol([](std::string_view, memory::GuestVirtual, char) {});
    memory_.write({page}, std::span(whole).subspan(page, kPageSize));
  }
  EXPECT_TRUE(Kernel::attach(memory_));
}

}  // namespace
}  // namespace hyperward::kernel
