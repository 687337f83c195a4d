# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: the gdn-conform authors

# cmake -DOUT=file.c -DFILES=a;b -P embed.cmake: a C source that holds the files as text, the
# program first. String literals would end at 4095 characters by the standard: arrays do not.
set(entries "")
file(WRITE "${OUT}.tmp" "#include \"gpu_compile.h\"\n\n")
foreach(path IN LISTS FILES)
    get_filename_component(name "${path}" NAME)
    string(MAKE_C_IDENTIFIER "text_${name}" symbol)
    file(READ "${path}" bytes HEX)
    string(REGEX REPLACE "(..)" "0x\\1," bytes "${bytes}")
    file(APPEND "${OUT}.tmp" "static const char ${symbol}[] = {${bytes}0};\n")
    string(APPEND entries "    {\"${name}\", ${symbol}},\n")
endforeach()
file(APPEND "${OUT}.tmp"
     "\nconst gpu_source gpu_sources[] = {\n${entries}    {0},\n};\n")
file(RENAME "${OUT}.tmp" "${OUT}")
