# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: the gdn-conform authors

# gdn_gpu_device(VENDOR): the adapter with that folder's gpu_vendor.h. Needs no package of the
# vendor's: driver and compiler are loaded when the device is opened.
set(GDN_GPU_FOLDER ${CMAKE_CURRENT_LIST_DIR})
function(gdn_gpu_device vendor)
    add_library(gdn_device_${vendor} MODULE
        ${GDN_GPU_FOLDER}/gpu_attention.c ${GDN_GPU_FOLDER}/gpu_compile.c
        ${GDN_GPU_FOLDER}/gpu_conventions.c ${GDN_GPU_FOLDER}/gpu_device.c
        ${GDN_GPU_FOLDER}/gpu_driver.c ${GDN_GPU_FOLDER}/gpu_execute.c
        ${GDN_GPU_FOLDER}/gpu_ops.c ${GDN_GPU_FOLDER}/gpu_options.c
        ${GDN_GPU_FOLDER}/gpu_plan.c $<TARGET_OBJECTS:gdn_kernel_sources>)
    target_include_directories(gdn_device_${vendor}
        PRIVATE ${GDN_GPU_FOLDER} ${CMAKE_CURRENT_SOURCE_DIR}
                $<TARGET_PROPERTY:gdn_kernel_sources,INTERFACE_INCLUDE_DIRECTORIES>)
    target_compile_definitions(gdn_device_${vendor}
        PRIVATE "GDN_GPU_VERSION=\"${PROJECT_VERSION}\"")
    target_link_libraries(gdn_device_${vendor}
        PRIVATE gdn::device_abi gdn::reference gdn::options ${CMAKE_DL_LIBS})
    # From gdn::reference comes gdn_call_check, which needs none of its libraries.
    target_link_options(gdn_device_${vendor}
        PRIVATE LINKER:--exclude-libs,ALL LINKER:--as-needed)
    set_target_properties(gdn_device_${vendor} PROPERTIES
        PREFIX "" OUTPUT_NAME gdn-device-${vendor} C_VISIBILITY_PRESET hidden)
endfunction()
