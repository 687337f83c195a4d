/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* One input of the safetensors reader: whatever it accepts, all of it can be read. */
#ifndef GDN_FUZZ_SAFETENSORS_H
#define GDN_FUZZ_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

/// libFuzzer's entry; aborts where a promise of safetensors.h is broken, else returns 0.
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

#endif
