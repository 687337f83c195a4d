/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include <stdio.h>

#include "cli.h"
#include "device_spec.h"
#include "session.h"

static error_t parse(int key, char *arg, struct argp_state *state) {
    if (key == ARGP_KEY_ARG) {
        argp_error(state, "unexpected argument \"%s\"", arg);
    }
    return ARGP_ERR_UNKNOWN;
}

static void print_device(const char *name, const gdn_paths *paths) {
    gdn_error err = {0};
    gdn_device_spec device;
    gdn_session session;
    if (gdn_device_spec_parse(&device, name, paths, &err) != GDN_OK) {
        printf("%-22s unavailable  %s\n", name, err.message);
        return;
    }
    if (gdn_session_open(&session, &device, paths->profiles, 60.0, &err) != GDN_OK) {
        printf("%-22s unavailable  %s\n", name, err.message);
    } else {
        printf("%-22s available    %s%s%s; %s\n", name, session.hardware,
               session.driver[0] ? "; " : "", session.driver, session.build);
        gdn_session_close(&session);
    }
    gdn_device_spec_destroy(&device);
}

int gdn_cmd_devices(int argc, char **argv) {
    static const struct argp ARGP = {
        .parser = parse,
        .doc =
            "Opens every device that was built, and every bridge, and says what it is, or "
            "why it is not here.",
    };
    gdn_cli_parse(&ARGP, argc, argv, NULL);
    gdn_paths paths;
    gdn_names names;
    gdn_names bridges;
    gdn_error err = {0};
    int code = GDN_EXIT_HARNESS;
    if (!gdn_cli_paths(&paths, &code)) {
        return code;
    }
    if (gdn_device_names(&names, &paths, &err) != GDN_OK) {
        return gdn_cli_fail(&err);
    }
    if (gdn_bridge_names(&bridges, &paths, &err) != GDN_OK) {
        gdn_names_destroy(&names);
        return gdn_cli_fail(&err);
    }
    for (size_t i = 0; i < names.count; i++) {
        print_device(names.items[i], &paths);
    }
    for (size_t i = 0; i < bridges.count; i++) {
        char name[300];
        snprintf(name, sizeof name, "bridge:%s", bridges.items[i]);
        print_device(name, &paths);
    }
    gdn_names_destroy(&bridges);
    gdn_names_destroy(&names);
    return GDN_EXIT_GREEN;
}
