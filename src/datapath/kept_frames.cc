#include "datapath/kept_frames.h"

#include <algorithm>

namespace hyperward::datapath {
namespace {

// Later fragments have no ports, so the fragments of a packet are known by its addresses and number.
bool of_one_packet(const packet::Packet& a, const packet::Packet& b) {
  return a.fragment.is_fragment() && b.fragment.is_fragment() && a.fragment.id == b.fragment.id &&
         a.key.vlan_id == b.key.vlan_id && a.key.protocol == b.key.protocol &&
         a.key.source.address == b.key.source.address && a.key.destination.address == b.key.destination.address;
}

}  // namespace

Result<Kept> KeptFrames::add(const Held& held) {
  const size_t size = held.frame_with_header.size();
  if (frames_.size() >= frames_max_ || size > bytes_max_ - bytes_)
    return fail(Code::kLimit, "keep a frame of {}: {} frames of {} bytes are kept", to_string(held.key), frames_.size(),
                bytes_);
  Frame& frame = frames_.emplace_back(held, std::make_unique_for_overwrite<std::byte[]>(size));
  std::ranges::copy(held.frame_with_header, frame.bytes.get());
  frame.held.frame_with_header = {frame.bytes.get(), size};
  bytes_ += size;
  share((*config_)->taken, shared((*config_)->taken) - 1);
  return Kept(&frame.held, Release{this});
}

void KeptFrames::release(const Held* kept) {
  const auto frame = std::ranges::find_if(frames_, [&](const Frame& other) { return &other.held == kept; });
  HW_CHECK(frame != frames_.end());
  bytes_ -= frame->held.frame_with_header.size();
  frames_.erase(frame);
  share((*config_)->taken, shared((*config_)->taken) + 1);
}

const Held* KeptFrames::ahead_of(const Held& held) const {
  const bool has_flow = held.packet.kind != packet::Kind::kLaterFragment;
  const packet::FlowKey key = packet::flow_of(held.packet);
  for (const Frame& frame : frames_) {
    if (&frame.held == &held) return nullptr;
    if (of_one_packet(frame.held.packet, held.packet) || (has_flow && frame.held.key == key)) return &frame.held;
  }
  return nullptr;
}

void Release::operator()(Held* kept) const {
  among->release(kept);
}

}  // namespace hyperward::datapath
