/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Which deviations a case cannot show, and why not. */
#ifndef GDN_INVISIBLE_H
#define GDN_INVISIBLE_H

#include "case.h"
#include "gdn/deviation.h"

/// Why no output of the case depends on what the deviation changes, as a literal; NULL if
/// nothing says so. The kill matrix checks every proof: golden values must agree to the
/// bit.
const char *gdn_invisible_proof(const gdn_deviation *deviation, const gdn_case *test);

#endif
