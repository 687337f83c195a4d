# SPDX-License-Identifier: Apache-2.0
# Turns the file IN into a C array NAME at OUT: cmake -D IN=.. -D OUT=.. -D NAME=.. -P this.
file(READ "${IN}" hex HEX)
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
string(REGEX REPLACE "((0x..,){20})" "\\1\n" bytes "${bytes}")
file(WRITE "${OUT}" "extern const char ${NAME}[];\nconst char ${NAME}[] = {\n${bytes}0};\n")
