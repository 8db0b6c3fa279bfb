#include "daemon/ids_offer.h"

#include <memory>

#include <gtest/gtest.h>

namespace hyperward::daemon {
namespace {

using namespace std::chrono_literals;

TEST(IdsOffer, is_taken_by_one_alone) {
  IdsOffer offer({});
  EXPECT_FALSE(offer.is_taken());
  EXPECT_TRUE(offer.take());
  EXPECT_FALSE(offer.take());
  EXPECT_TRUE(offer.is_taken());
  offer.answer_with(std::nullopt);
}

TEST(IdsOffer, tells_what_came_of_it_as_soon_as_it_is_taken) {
  auto offer = std::make_shared<IdsOffer>(detect::IdsAlert{});
  IdsOffer::Answer answer = offer->answer();
  ASSERT_TRUE(offer->take());
  offer->answer_with(IdsOffer::Taken{.alert = {.id = 7}});
  ASSERT_EQ(answer.wait_for(0s), std::future_status::ready) << "others may still hold it";
  EXPECT_EQ(answer.get()->alert.id, 7);
}

TEST(IdsOffer, tells_that_nobody_took_it_when_all_have_let_go) {
  auto offer = std::make_shared<IdsOffer>(detect::IdsAlert{});
  auto others = offer;
  IdsOffer::Answer answer = offer->answer();
  offer.reset();
  EXPECT_EQ(answer.wait_for(0s), std::future_status::timeout);
  others.reset();
  ASSERT_EQ(answer.wait_for(0s), std::future_status::ready);
  EXPECT_FALSE(answer.get());
}

}  // namespace
}  // namespace hyperward::daemon
