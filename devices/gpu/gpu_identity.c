/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Which CUDA or HIP device this is. */
#include <stdio.h>
#include <string.h>

#include "gpu.h"
#include "gpu_vendor.h"

static gdn_status check(gdn_device *device, int code, const char *what, gdn_error *err) {
    return gpu_driver_check(&device->driver, code, what, err);
}

/* The kernel module's version, "" if it cannot be read. */
static void read_module_version(char *text, size_t size) {
    text[0] = '\0';
    FILE *file = fopen(GPU_MODULE_VERSION, "r");
    if (!file) {
        return;
    }
    if (!fgets(text, (int)size, file)) {
        text[0] = '\0';
    }
    text[strcspn(text, "\n")] = '\0';
    fclose(file);
}

gdn_status gpu_identify(gdn_device *device, char target[32], gdn_error *err) {
    const gpu_driver *d = &device->driver;
    char name[96] = "", pci[32] = "", uuid[40] = "";
    unsigned char bytes[16] = {0};
    int units = 0, major = 0, minor = 0, version = 0;
    const int handle = device->ordinal;
    GDN_TRY(check(device, d->device_name(name, sizeof name, handle), GPU_NAME_device_name,
                  err));
    GDN_TRY(check(device, d->device_pci_bus_id(pci, sizeof pci, handle),
                  GPU_NAME_device_pci_bus_id, err));
    GDN_TRY(check(device, d->device_uuid(bytes, handle), GPU_NAME_device_uuid, err));
    GDN_TRY(check(device, d->driver_version(&version), GPU_NAME_driver_version, err));
    const struct {
        int attribute, *value;
    } attributes[] = {{GPU_ATTRIBUTE_WARP, &device->warp},
                      {GPU_ATTRIBUTE_MULTIPROCESSORS, &units},
                      {GPU_ATTRIBUTE_MAJOR, &major},
                      {GPU_ATTRIBUTE_MINOR, &minor}};
    for (size_t i = 0; i < sizeof attributes / sizeof attributes[0]; i++) {
        GDN_TRY(
            check(device,
                  d->device_attribute(attributes[i].value, attributes[i].attribute, handle),
                  GPU_NAME_device_attribute, err));
    }
    for (int i = 0; i < 16; i++) {
        const size_t used = strlen(uuid);
        const bool dash = i == 4 || i == 6 || i == 8 || i == 10;
        snprintf(uuid + used, sizeof uuid - used, "%s%02x", dash ? "-" : "", bytes[i]);
    }
    snprintf(device->hardware, sizeof device->hardware,
             "%s, PCI %s, GPU-%s, %d multiprocessors of %d lanes", name, pci, uuid, units,
             device->warp);
    char module[64];
    read_module_version(module, sizeof module);
    snprintf(device->driver_text, sizeof device->driver_text, "%s driver API %d%s%s",
             GPU_DEVICE, version, module[0] ? ", kernel module " : "", module);
    snprintf(target, 32, "sm_%d%d", major, minor);
    return GDN_OK;
}
