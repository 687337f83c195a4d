# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: the gdn-conform authors

set(GDN_GPU_FOLDER ${CMAKE_CURRENT_LIST_DIR})

# What both kinds of adapter share: the host's source, and KERNELS, the object library that
# holds the kernels' text or modules.
function(gdn_gpu_adapter vendor kernels)
    # Apart from the module, so that test_gpu_graph reaches what that does not export.
    add_library(gdn_gpu_${vendor} OBJECT
        ${GDN_GPU_FOLDER}/gpu_attention.c ${GDN_GPU_FOLDER}/gpu_conventions.c
        ${GDN_GPU_FOLDER}/gpu_device.c ${GDN_GPU_FOLDER}/gpu_driver.c
        ${GDN_GPU_FOLDER}/gpu_execute.c ${GDN_GPU_FOLDER}/gpu_expression.c
        ${GDN_GPU_FOLDER}/gpu_ops.c ${GDN_GPU_FOLDER}/gpu_options.c
        ${GDN_GPU_FOLDER}/gpu_package.c ${GDN_GPU_FOLDER}/gpu_plan.c
        ${GDN_GPU_FOLDER}/gpu_verify.c ${ARGN})
    target_include_directories(gdn_gpu_${vendor}
        PUBLIC ${GDN_GPU_FOLDER} ${CMAKE_CURRENT_SOURCE_DIR}
               $<TARGET_PROPERTY:${kernels},INTERFACE_INCLUDE_DIRECTORIES>)
    target_compile_definitions(gdn_gpu_${vendor}
        PRIVATE "GDN_GPU_VERSION=\"${PROJECT_VERSION}\"")
    target_link_libraries(gdn_gpu_${vendor}
        PUBLIC gdn::device_abi gdn::reference PkgConfig::JANSSON ${CMAKE_DL_LIBS}
        PRIVATE gdn::options)
    add_library(gdn_device_${vendor} MODULE $<TARGET_OBJECTS:${kernels}>)
    target_link_libraries(gdn_device_${vendor} PRIVATE gdn_gpu_${vendor} gdn::options)
    # From gdn::reference comes gdn_call_check, which needs none of its libraries.
    target_link_options(gdn_device_${vendor}
        PRIVATE LINKER:--exclude-libs,ALL LINKER:--as-needed)
    set_target_properties(gdn_device_${vendor} PROPERTIES
        PREFIX "" OUTPUT_NAME gdn-device-${vendor} C_VISIBILITY_PRESET hidden)
endfunction()

# gdn_gpu_device(VENDOR): the adapter with that folder's gpu_vendor.h. Needs no package of the
# vendor's: driver and compiler are loaded when the device is opened.
function(gdn_gpu_device vendor)
    gdn_gpu_adapter(${vendor} gdn_kernel_sources
        ${GDN_GPU_FOLDER}/gpu_compile.c ${GDN_GPU_FOLDER}/gpu_identity.c
        ${GDN_GPU_FOLDER}/gpu_modules.c)
endfunction()

# gdn_gpu_linked_device(VENDOR SOURCE..): the adapter with that folder's gpu_vendor.h and
# its functions in the shape of gpu_driver.h, which are the SOURCEs.
function(gdn_gpu_linked_device vendor)
    gdn_gpu_adapter(${vendor} gdn_cl_kernels ${ARGN})
endfunction()

if(NOT BUILD_TESTING)
    return()
endif()

find_program(GDN_PYTHON python3 HINTS /usr/bin REQUIRED)

add_library(gdn_fake_driver MODULE ${GDN_GPU_FOLDER}/tests/fake_driver.c)
target_link_libraries(gdn_fake_driver PRIVATE gdn::options)
set_target_properties(gdn_fake_driver PROPERTIES
    PREFIX "" LIBRARY_OUTPUT_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR})
add_test(NAME test_gpu_host COMMAND ${GDN_PYTHON}
         ${GDN_GPU_FOLDER}/tests/test_gpu_host.py ${CMAKE_BINARY_DIR}/bin
         $<TARGET_FILE:gdn_fake_driver>
         ${GDN_GPU_FOLDER}/../kernels/packages/gating-source)

# The kernels for this processor behind the fake driver, for warps of 32 and 64. clang++ in
# the sanitizers' build too, without them: they know nothing of fibers.
find_program(GDN_CLANGXX NAMES clang++ clang++-14 REQUIRED)
file(GLOB GDN_KERNEL_FILES ${GDN_GPU_FOLDER}/../kernels/*.hip
     ${GDN_GPU_FOLDER}/../kernels/kernel_args.h)
foreach(warp 32 64)
    set(object ${CMAKE_CURRENT_BINARY_DIR}/emulated_kernels_${warp}.o)
    add_custom_command(OUTPUT ${object}
        COMMAND ${GDN_CLANGXX} -x c++ -std=c++17 -O2 -fPIC -Wall -Wextra -Werror
                -Wno-unknown-pragmas -fno-exceptions -fno-rtti -fno-threadsafe-statics
                -fvisibility=hidden -DGDN_WARP=${warp} -I${GDN_GPU_FOLDER}/../kernels
                -c ${GDN_GPU_FOLDER}/tests/emulated_kernels.cpp -o ${object}
        DEPENDS ${GDN_KERNEL_FILES} ${GDN_GPU_FOLDER}/tests/emulated_kernels.cpp
                ${GDN_GPU_FOLDER}/tests/emulated_lanes.h
        VERBATIM)
    add_library(gdn_emulated_${warp} MODULE ${GDN_GPU_FOLDER}/tests/fake_driver.c ${object})
    target_compile_definitions(gdn_emulated_${warp} PRIVATE FAKE_EMULATES)
    target_link_libraries(gdn_emulated_${warp} PRIVATE gdn::options m)
    set_target_properties(gdn_emulated_${warp} PROPERTIES
        PREFIX "" LIBRARY_OUTPUT_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR})
endforeach()

gdn_test(test_gpu_expression
    SOURCES ${GDN_GPU_FOLDER}/tests/test_gpu_expression.c ${GDN_GPU_FOLDER}/gpu_expression.c
    LIBS gdn::base)
target_include_directories(test_gpu_expression PRIVATE ${GDN_GPU_FOLDER})

# Compile conformance: where the vendor's run-time compiler is not installed, exit 77.
# GDN_NVRTC: path of libnvrtc.so.NN, for example from the PyPI wheel nvidia-cuda-nvrtc.
set(GDN_NVRTC "" CACHE FILEPATH "NVRTC for the compile tests, if not in the loader's path")
function(gdn_gpu_compile_test vendor target warp rtc)
    if(NOT TARGET compile_kernels_${vendor})
        add_executable(compile_kernels_${vendor}
            ${GDN_GPU_FOLDER}/../kernels/tests/compile_kernels.c
            ${GDN_GPU_FOLDER}/gpu_compile.c ${GDN_GPU_FOLDER}/gpu_driver.c
            $<TARGET_OBJECTS:gdn_kernel_sources>)
        target_include_directories(compile_kernels_${vendor}
            PRIVATE ${GDN_GPU_FOLDER} ${GDN_GPU_FOLDER}/../${vendor})
        target_link_libraries(compile_kernels_${vendor}
            PRIVATE gdn::base gdn::options ${CMAKE_DL_LIBS})
        set_target_properties(compile_kernels_${vendor} PROPERTIES
            RUNTIME_OUTPUT_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR})
    endif()
    add_test(NAME kernels_compile_${target} COMMAND ${GDN_PYTHON}
             ${GDN_GPU_FOLDER}/../kernels/tests/test_compile.py
             $<TARGET_FILE:compile_kernels_${vendor}> ${GDN_GPU_FOLDER}/../kernels
             ${vendor} ${target} ${warp} ${rtc})
    set_tests_properties(kernels_compile_${target} PROPERTIES
                         SKIP_RETURN_CODE 77 TIMEOUT 600)
endfunction()

gdn_gpu_compile_test(cuda sm_80 32 "${GDN_NVRTC}")
gdn_gpu_compile_test(cuda sm_90 32 "${GDN_NVRTC}")
gdn_gpu_compile_test(hip gfx90a 64 "")
gdn_gpu_compile_test(hip gfx1030 32 "")
