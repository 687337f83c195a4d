/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* A certificate's form in manifests and files. Private to vectors/. */
#ifndef GDN_CERTIFICATE_H
#define GDN_CERTIFICATE_H

#include "certify.h"
#include "hdf5_io.h"

/// Digits of a certified figure in JSON.
#define GDNP_CERTIFIED_DIGITS 3

/// Adds the certificate's members to a case of the manifest.
GDN_NODISCARD gdn_status gdnp_certificate_to_json(json_t *entry,
                                                  const gdn_certificate *certificate,
                                                  gdn_error *err);

/// Checks the form of the members, which may be absent: older manifests have none.
GDN_NODISCARD gdn_status gdnp_certificate_check(const json_t *entry, gdn_error *err);

/// Writes a tensor's figures beside its golden values in `group`; nothing if it has none.
GDN_NODISCARD gdn_status gdnp_certificate_write(hid_t group, const char *tensor,
                                                const gdn_certificate *certificate,
                                                gdn_error *err);

/// Compares the figures of a golden dataset with the manifest's.
GDN_NODISCARD gdn_status gdnp_certificate_verify(hid_t dataset, const json_t *entry,
                                                 const char *tensor, gdn_error *err);

#endif
