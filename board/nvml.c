//go:build cgo

#include "nvml.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

// Signatures and numbers as in NVIDIA's nvml.h.
typedef struct nvmlDevice_st *device;
typedef struct { unsigned gpu, memory; } utilization;
typedef struct { unsigned long long total, free, used; } memory;
enum { TEMPERATURE_GPU = 0, CLOCK_SM = 1 };

struct nvml_library {
	int (*init)(void);
	int (*shutdown)(void);
	int (*count)(unsigned *);
	int (*handle)(unsigned, device *);
	const char *(*text)(int);
	int (*name)(device, char *, unsigned);
	int (*utilization)(device, utilization *);
	int (*temperature)(device, int, unsigned *);
	int (*memory)(device, memory *);
	int (*power)(device, unsigned *);
	int (*clock)(device, int, unsigned *);
	int (*clock_max)(device, int, unsigned *);
	int (*throttle)(device, unsigned long long *);
};

nvml_library *nvml_open(const char *path, const char **why) {
	// Whatever the library itself lacks shows now, and not in a later call.
	void *h = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!h) {
		*why = dlerror();
		return NULL;
	}
	nvml_library *l = calloc(1, sizeof *l);
	if (!l) {
		*why = "no memory";
		return NULL;
	}
	const struct {
		const char *name;
		void *to;
		int needed;
	} functions[] = {
		{"nvmlInit_v2", &l->init, 1},
		{"nvmlShutdown", &l->shutdown, 1},
		{"nvmlDeviceGetCount_v2", &l->count, 1},
		{"nvmlDeviceGetHandleByIndex_v2", &l->handle, 1},
		{"nvmlErrorString", &l->text, 0},
		{"nvmlDeviceGetName", &l->name, 0},
		{"nvmlDeviceGetUtilizationRates", &l->utilization, 0},
		{"nvmlDeviceGetTemperature", &l->temperature, 0},
		{"nvmlDeviceGetMemoryInfo", &l->memory, 0},
		{"nvmlDeviceGetPowerUsage", &l->power, 0},
		{"nvmlDeviceGetClockInfo", &l->clock, 0},
		{"nvmlDeviceGetMaxClockInfo", &l->clock_max, 0},
		{"nvmlDeviceGetCurrentClocksThrottleReasons", &l->throttle, 0},
	};
	for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
		void *f = dlsym(h, functions[i].name);
		if (!f && functions[i].needed) {
			*why = dlerror();
			free(l);
			return NULL;
		}
		memcpy(functions[i].to, &f, sizeof f);
	}
	return l; // never closed: a driver may have threads in it
}

int nvml_init(nvml_library *l) { return l->init(); }
int nvml_shutdown(nvml_library *l) { return l->shutdown(); }
int nvml_count(nvml_library *l, unsigned *count) { return l->count(count); }
const char *nvml_text(nvml_library *l, int code) { return l->text ? l->text(code) : NULL; }

int nvml_read(nvml_library *l, unsigned index, nvml_gpu *out) {
	device d = NULL;
	memset(out, 0, sizeof *out);
	int code = l->handle(index, &d);
	if (code != NVML_SUCCESS)
		return code;
	if (!l->name || l->name(d, out->name, sizeof out->name) != NVML_SUCCESS)
		out->name[0] = 0;
	out->name[sizeof out->name - 1] = 0;
	utilization u;
	if (l->utilization && l->utilization(d, &u) == NVML_SUCCESS) {
		out->load = u.gpu;
		out->has |= NVML_HAS_LOAD;
	}
	if (l->temperature && l->temperature(d, TEMPERATURE_GPU, &out->celsius) == NVML_SUCCESS)
		out->has |= NVML_HAS_TEMPERATURE;
	memory m;
	if (l->memory && l->memory(d, &m) == NVML_SUCCESS) {
		out->memory_total = m.total;
		out->memory_used = m.used;
		out->has |= NVML_HAS_MEMORY;
	}
	if (l->power && l->power(d, &out->milliwatts) == NVML_SUCCESS)
		out->has |= NVML_HAS_POWER;
	if (l->clock && l->clock(d, CLOCK_SM, &out->mhz) == NVML_SUCCESS)
		out->has |= NVML_HAS_CLOCK;
	if (l->clock_max && l->clock_max(d, CLOCK_SM, &out->max_mhz) == NVML_SUCCESS)
		out->has |= NVML_HAS_CLOCK_MAX;
	if (l->throttle && l->throttle(d, &out->throttle) == NVML_SUCCESS)
		out->has |= NVML_HAS_THROTTLE;
	return NVML_SUCCESS;
}
