# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: the gdn-conform authors

# cmake -DOUT=file.c -DMODULE=kernels.spv -P embed_module.cmake: a C source that holds the
# module's bytes, none if there is no module.
set(bytes "")
if(MODULE)
    file(READ "${MODULE}" bytes HEX)
    string(REGEX REPLACE "(..)" "0x\\1," bytes "${bytes}")
endif()
file(WRITE "${OUT}.tmp"
    "#include \"cl_kernels.h\"\n\n"
    "const unsigned char cl_kernels_spirv[] = {${bytes}0};\n"
    "const size_t cl_kernels_spirv_bytes = sizeof cl_kernels_spirv - 1;\n")
file(RENAME "${OUT}.tmp" "${OUT}")
