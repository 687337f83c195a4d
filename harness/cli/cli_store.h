/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* What the subcommands that know stores share. */
#ifndef GDN_CLI_STORE_H
#define GDN_CLI_STORE_H

#include <argp.h>

#include "store.h"

/// What a user gets who says nothing; a progress bar only on a terminal.
gdn_store_options gdn_cli_store_defaults(void);

/// Where `*vectors` is the URL of a store, pulls the suites and sets it to their folder,
/// which the caller frees by way of `*pulled`; anything else is left alone, `*pulled` then
/// NULL.
GDN_NODISCARD gdn_status gdn_cli_pull_vectors(char **pulled, const char **vectors,
                                              const char *const *suites,
                                              const gdn_store_options *options,
                                              gdn_error *err);

/// A number in [least, most], anything else is bad usage.
unsigned gdn_cli_count(struct argp_state *state, const char *option, const char *text,
                       unsigned least, unsigned most);

#endif
