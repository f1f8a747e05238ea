// A library that stands in for libnvidia-ml.so.1: two GPUs, of which the second
// supports nothing but its name. What it lacks or gets wrong is set by macros.
#include <string.h>

enum { SUCCESS = 0, NOT_SUPPORTED = 3, NOT_FOUND = 6, DRIVER_NOT_LOADED = 9, GPU_IS_LOST = 15 };

typedef struct nvmlDevice_st { int number; } *nvmlDevice_t;
static struct nvmlDevice_st devices[2] = {{0}, {1}};
static int calls;

int nvmlInit_v2(void) {
#ifdef NO_DRIVER
	return DRIVER_NOT_LOADED;
#endif
	return SUCCESS;
}
int nvmlShutdown(void) { return SUCCESS; }
#ifndef INCOMPLETE
int nvmlDeviceGetCount_v2(unsigned *n) { *n = 2; return SUCCESS; }
#endif
int nvmlDeviceGetHandleByIndex_v2(unsigned i, nvmlDevice_t *d) {
#ifdef FALLS_OFF
	if (++calls > 2)
		return GPU_IS_LOST;
#endif
	(void)calls;
	if (i >= 2)
		return NOT_FOUND;
	*d = &devices[i];
	return SUCCESS;
}
const char *nvmlErrorString(int code) { return code == GPU_IS_LOST ? "GPU is lost" : code == DRIVER_NOT_LOADED ? "Driver Not Loaded" : "?"; }

int nvmlDeviceGetName(nvmlDevice_t d, char *s, unsigned n) {
#ifdef WILD
	memset(s, 'x', n);
	return SUCCESS;
#endif
	strncpy(s, d->number ? "Orin (nvgpu)" : "NVIDIA RTX A2000 12GB", n);
	return SUCCESS;
}

#ifndef OLD
#ifdef WILD
#define OR(good, wild) (wild)
#else
#define OR(good, wild) (good)
#endif
#define SUPPORTED if (d->number) return NOT_SUPPORTED
int nvmlDeviceGetUtilizationRates(nvmlDevice_t d, unsigned u[2]) { SUPPORTED; u[0] = OR(37, 101); u[1] = 5; return SUCCESS; }
int nvmlDeviceGetTemperature(nvmlDevice_t d, int sensor, unsigned *c) { SUPPORTED; *c = sensor ? 999 : OR(61, 4294967295u); return SUCCESS; }
int nvmlDeviceGetMemoryInfo(nvmlDevice_t d, unsigned long long m[3]) { SUPPORTED; m[0] = 12884901888ull; m[1] = 0; m[2] = OR(4294967296ull, ~0ull); return SUCCESS; }
#ifndef MEMORY_V1
struct memory { unsigned version; unsigned long long total, reserved, free, used; };
int nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t d, struct memory *m) { SUPPORTED; m->total = 12884901888ull; m->reserved = 294967296; m->used = OR(4000000000ull, ~0ull); return SUCCESS; }
#endif
int nvmlDeviceGetPowerUsage(nvmlDevice_t d, unsigned *mw) { SUPPORTED; *mw = OR(43210, 4294967295u); return SUCCESS; }
int nvmlDeviceGetClockInfo(nvmlDevice_t d, int clock, unsigned *mhz) { SUPPORTED; *mhz = clock == 1 ? OR(1200, 4294967295u) : 1; return SUCCESS; }
int nvmlDeviceGetMaxClockInfo(nvmlDevice_t d, int clock, unsigned *mhz) { SUPPORTED; *mhz = clock == 1 ? OR(2100, 0) : 1; return SUCCESS; }
int nvmlDeviceGetCurrentClocksThrottleReasons(nvmlDevice_t d, unsigned long long *mask) { SUPPORTED; *mask = OR(0x21, 0x8000000000000000ull); return SUCCESS; }
#endif
