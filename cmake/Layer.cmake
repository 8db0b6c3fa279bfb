# One folder of src/ is one layer: one namespace, one library, its tests beside it.
#
#   hyperward_layer(NAME SOURCES a.cc ... [TESTS a_test.cc ...] [USES layer ...] [LINKS target ...])
#
# USES names the layers it may include, LINKS what else it needs. Tests become one program, NAME_test, whose
# cases CTest knows one by one.
add_library(hyperward_options INTERFACE)
target_compile_options(hyperward_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion $<$<COMPILE_LANGUAGE:CXX>:-Wnon-virtual-dtor>
  -fno-omit-frame-pointer)
target_compile_definitions(hyperward_options INTERFACE _GNU_SOURCE)
if(HYPERWARD_SANITIZE)
  target_compile_options(hyperward_options INTERFACE -fsanitize=${HYPERWARD_SANITIZE} -fno-sanitize-recover=all)
  target_link_options(hyperward_options INTERFACE -fsanitize=${HYPERWARD_SANITIZE})
endif()
if(HYPERWARD_FUZZ)
  # Coverage for all of our code; main() comes with the harness alone.
  target_compile_options(hyperward_options INTERFACE -fsanitize=fuzzer-no-link)
endif()

if(BUILD_TESTING)
  find_package(GTest REQUIRED)
  include(GoogleTest)
endif()

function(hyperward_layer name)
  cmake_parse_arguments(LAYER "" "" "SOURCES;TESTS;USES;LINKS" ${ARGN})
  list(TRANSFORM LAYER_USES PREPEND hyperward::)

  add_library(hyperward_${name} STATIC ${LAYER_SOURCES})
  add_library(hyperward::${name} ALIAS hyperward_${name})
  target_include_directories(hyperward_${name} PUBLIC ${PROJECT_SOURCE_DIR}/src)
  target_link_libraries(hyperward_${name} PUBLIC ${LAYER_USES} ${LAYER_LINKS} hyperward_options)

  if(BUILD_TESTING AND LAYER_TESTS)
    add_executable(${name}_test ${LAYER_TESTS})
    target_link_libraries(${name}_test PRIVATE hyperward::${name} GTest::gmock GTest::gtest_main)
    gtest_discover_tests(${name}_test TEST_PREFIX ${name}. DISCOVERY_TIMEOUT 60 PROPERTIES TIMEOUT 120)
  endif()
endfunction()
