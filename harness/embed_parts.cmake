# SPDX-License-Identifier: Apache-2.0
# The parts of standalone programs (standalone/*.c) as one C file of texts:
# cmake -DOUT=file -DPARTS="a.c;b.c" -P embed_parts.cmake
set(text "/* Made by embed_parts.cmake. */\n#include \"standalone_parts.h\"\n\n")
foreach(part IN LISTS PARTS)
    get_filename_component(name ${part} NAME_WE)
    file(READ ${part} hex HEX)
    string(REGEX REPLACE "(..)" "0x\\1," bytes "${hex}")
    string(APPEND text "const char gdn_part_${name}[] = {${bytes}0};\n")
endforeach()
file(WRITE ${OUT} "${text}")
