# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: the gdn-conform authors

# cmake -DOUT=file.c -DMODULES=kernels.spv;kernels_fp64.spv -P embed_module.cmake: a C source
# that holds the modules' bytes, none if there are no modules.
file(WRITE "${OUT}.tmp" "#include \"cl_kernels.h\"\n")
foreach(name kernels kernels_fp64)
    set(bytes "")
    foreach(module IN LISTS MODULES)
        if(module MATCHES "/${name}\\.spv$")
            file(READ "${module}" bytes HEX)
            string(REGEX REPLACE "(..)" "0x\\1," bytes "${bytes}")
        endif()
    endforeach()
    file(APPEND "${OUT}.tmp"
        "\nconst unsigned char cl_${name}_spirv[] = {${bytes}0};\n"
        "const size_t cl_${name}_spirv_bytes = sizeof cl_${name}_spirv - 1;\n")
endforeach()
file(RENAME "${OUT}.tmp" "${OUT}")
