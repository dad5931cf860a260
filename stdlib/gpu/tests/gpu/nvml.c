/* A stand-in for NVIDIA's management library, with the cards that a file `cards` beside it describes; it is read anew at each
 * call, so that a test can change them while they are looked at. Functions and codes are those of nvml.h.
 *
 * The file has a line for each fact:
 *
 *   init CODE            what nvmlInit_v2 answers
 *   driver TEXT
 *   card UUID            begins a card; what follows is about it
 *   name TEXT
 *   pci 00000000:01:00.0
 *   compute MAJOR MINOR
 *   total BYTES          memory; what its processes hold is used
 *   reserved BYTES
 *   number NAME VALUE    what a function of that name gives
 *   lost                 each function answers NVML_ERROR_GPU_IS_LOST
 *   compute_process PID BYTES
 *   graphics_process PID BYTES
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OK = 0, UNINITIALIZED = 1, INVALID = 2, NOT_SUPPORTED = 3, TOO_SMALL = 7, LOST = 15, UNKNOWN = 999 };
enum { CARDS = 16, PROCESSES = 64, NUMBERS = 32, TEXT = 96 };

typedef struct { unsigned pid; unsigned long long bytes; int graphics; } process;
typedef struct { char name[TEXT]; unsigned value; } number;
typedef struct {
    char uuid[TEXT], name[TEXT], pci[TEXT];
    int major, minor, lost, process_count, number_count;
    unsigned long long total, reserved;
    process processes[PROCESSES];
    number numbers[NUMBERS];
} card;
typedef struct { int init, card_count; char driver[TEXT]; card cards[CARDS]; } machine;

/* Handles point here: the place says which card is meant. */
static char handles[CARDS];
static __thread machine now;

static void read_line(const char *line) {
    card *last = now.card_count ? &now.cards[now.card_count - 1] : NULL;
    char word[TEXT];
    unsigned pid, value;
    unsigned long long bytes;
    if (sscanf(line, "init %d", &now.init) == 1) return;
    if (sscanf(line, "driver %95[^\n]", now.driver) == 1) return;
    if (sscanf(line, "card %95s", word) == 1 && now.card_count < CARDS) {
        strcpy(now.cards[now.card_count++].uuid, word);
        return;
    }
    if (!last) return;
    if (sscanf(line, "name %95[^\n]", last->name) == 1) return;
    if (sscanf(line, "pci %95s", last->pci) == 1) return;
    if (sscanf(line, "compute %d %d", &last->major, &last->minor) == 2) return;
    if (sscanf(line, "total %llu", &last->total) == 1) return;
    if (sscanf(line, "reserved %llu", &last->reserved) == 1) return;
    if (strncmp(line, "lost", 4) == 0) { last->lost = 1; return; }
    if (sscanf(line, "number %95s %u", word, &value) == 2 && last->number_count < NUMBERS) {
        number *it = &last->numbers[last->number_count++];
        strcpy(it->name, word);
        it->value = value;
        return;
    }
    int graphics = strncmp(line, "graphics_process", 16) == 0;
    if (sscanf(line, "%*s %u %llu", &pid, &bytes) == 2 && last->process_count < PROCESSES)
        last->processes[last->process_count++] = (process){ pid, bytes, graphics };
}

static void look(void) {
    Dl_info self;
    char path[4096], line[256];
    memset(&now, 0, sizeof now);
    if (!dladdr((void *)handles, &self)) return;
    snprintf(path, sizeof path, "%s", self.dli_fname);
    char *slash = strrchr(path, '/');
    if (!slash) return;
    strcpy(slash + 1, "cards");
    FILE *file = fopen(path, "r");
    if (!file) { now.init = UNKNOWN; return; }
    while (fgets(line, sizeof line, file)) read_line(line);
    fclose(file);
}

static int find(void *handle, card **found) {
    look();
    long index = (char *)handle - handles;
    if (now.init) return now.init;
    if (index < 0 || index >= now.card_count) return INVALID;
    *found = &now.cards[index];
    return (*found)->lost ? LOST : OK;
}

static int put(char *to, unsigned size, const char *text) {
    if (strlen(text) >= size) return TOO_SMALL;
    strcpy(to, text);
    return OK;
}

static int numbered(void *handle, const char *name, unsigned *to) {
    card *it;
    int code = find(handle, &it);
    if (code) return code;
    for (int i = 0; i < it->number_count; i++)
        if (strcmp(it->numbers[i].name, name) == 0) { *to = it->numbers[i].value; return OK; }
    return NOT_SUPPORTED;
}

int nvmlInit_v2(void) { look(); return now.init; }
int nvmlShutdown(void) { return OK; }
int nvmlSystemGetDriverVersion(char *to, unsigned size) { look(); return put(to, size, now.driver); }
int nvmlDeviceGetCount_v2(unsigned *to) { look(); *to = now.card_count; return now.init; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **to) {
    card *it;
    *to = handles + index;
    return find(*to, &it);
}

int nvmlDeviceGetUUID(void *h, char *to, unsigned size) { card *c; int e = find(h, &c); return e ? e : put(to, size, c->uuid); }
int nvmlDeviceGetName(void *h, char *to, unsigned size) { card *c; int e = find(h, &c); return e ? e : put(to, size, c->name); }
int nvmlDeviceGetMinorNumber(void *h, unsigned *to) { return numbered(h, "minor", to); }
int nvmlDeviceGetTemperature(void *h, int sensor, unsigned *to) { (void)sensor; return numbered(h, "temperature", to); }
int nvmlDeviceGetPowerUsage(void *h, unsigned *to) { return numbered(h, "power", to); }
int nvmlDeviceGetEnforcedPowerLimit(void *h, unsigned *to) { return numbered(h, "power_limit", to); }
int nvmlDeviceGetFanSpeed_v2(void *h, unsigned fan, unsigned *to) { (void)fan; return numbered(h, "fan", to); }
int nvmlDeviceGetCurrPcieLinkGeneration(void *h, unsigned *to) { return numbered(h, "pcie_generation", to); }
int nvmlDeviceGetCurrPcieLinkWidth(void *h, unsigned *to) { return numbered(h, "pcie_width", to); }
int nvmlDeviceGetClockInfo(void *h, int clock, unsigned *to) {
    return numbered(h, clock == 0 ? "clock_graphics" : "clock_memory", to);
}
int nvmlDeviceGetEncoderUtilization(void *h, unsigned *to, unsigned *us) { *us = 0; return numbered(h, "encoder", to); }
int nvmlDeviceGetDecoderUtilization(void *h, unsigned *to, unsigned *us) { *us = 0; return numbered(h, "decoder", to); }
int nvmlDeviceGetEncoderStats(void *h, unsigned *count, unsigned *fps, unsigned *us) {
    *fps = *us = 0;
    return numbered(h, "encoder_sessions", count);
}
int nvmlDeviceGetEccMode(void *h, unsigned *current, unsigned *pending) { *pending = 0; return numbered(h, "ecc", current); }
int nvmlDeviceGetMigMode(void *h, unsigned *current, unsigned *pending) { *pending = 0; return numbered(h, "mig", current); }

typedef struct { unsigned gpu, memory; } rates;
int nvmlDeviceGetUtilizationRates(void *h, rates *to) {
    int code = numbered(h, "busy", &to->gpu);
    return code ? code : numbered(h, "memory_busy", &to->memory);
}

int nvmlDeviceGetCudaComputeCapability(void *h, int *major, int *minor) {
    card *it;
    int code = find(h, &it);
    if (code) return code;
    *major = it->major;
    *minor = it->minor;
    return OK;
}

typedef struct { unsigned version; unsigned long long total, reserved, free, used; } memory;
int nvmlDeviceGetMemoryInfo_v2(void *h, memory *to) {
    card *it;
    int code = find(h, &it);
    if (code) return code;
    if (!it->total) return NOT_SUPPORTED;
    to->total = it->total;
    to->reserved = it->reserved;
    to->used = 0;
    for (int i = 0; i < it->process_count; i++) to->used += it->processes[i].bytes;
    to->free = to->total - to->reserved - to->used;
    return OK;
}

typedef struct { char legacy[16]; unsigned domain, bus, device, ids, subsystem; char address[32]; } pci;
int nvmlDeviceGetPciInfo_v3(void *h, pci *to) {
    card *it;
    int code = find(h, &it);
    if (code) return code;
    if (!it->pci[0]) return NOT_SUPPORTED;
    memset(to, 0, sizeof *to);
    return put(to->address, sizeof to->address, it->pci);
}

typedef struct { unsigned pid; unsigned long long bytes; unsigned gpu_instance, compute_instance; } running;
static int list(void *h, int graphics, unsigned *count, running *to) {
    card *it;
    int code = find(h, &it);
    if (code) return code;
    unsigned room = *count;
    *count = 0;
    for (int i = 0; i < it->process_count; i++) {
        if (it->processes[i].graphics != graphics) continue;
        if (*count < room && to) to[*count] = (running){ it->processes[i].pid, it->processes[i].bytes, ~0u, ~0u };
        ++*count;
    }
    return *count > room ? TOO_SMALL : OK;
}
int nvmlDeviceGetComputeRunningProcesses_v3(void *h, unsigned *count, running *to) { return list(h, 0, count, to); }
int nvmlDeviceGetGraphicsRunningProcesses_v3(void *h, unsigned *count, running *to) { return list(h, 1, count, to); }
