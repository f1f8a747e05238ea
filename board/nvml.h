// What board asks of NVIDIA's management library, libnvidia-ml.so.1. Its
// functions are looked up one by one: what the installed one lacks is absent.
#ifndef SIGHTLINE_NVML_H
#define SIGHTLINE_NVML_H

// nvmlReturn_t, those that are told apart.
enum { NVML_SUCCESS = 0, NVML_ALREADY_INITIALIZED = 5 };

// Which fields of a reading were answered.
enum {
	NVML_HAS_LOAD = 1,
	NVML_HAS_TEMPERATURE = 2,
	NVML_HAS_MEMORY = 4,
	NVML_HAS_POWER = 8,
	NVML_HAS_CLOCK = 16,
	NVML_HAS_CLOCK_MAX = 32,
	NVML_HAS_THROTTLE = 64,
};

typedef struct {
	unsigned has;
	char name[96]; // NVML_DEVICE_NAME_V2_BUFFER_SIZE
	unsigned load; // %
	unsigned celsius;
	unsigned milliwatts;
	unsigned mhz, max_mhz; // of the SM
	unsigned long long memory_total, memory_used; // bytes
	unsigned long long throttle; // nvmlClocksThrottleReasons
} nvml_gpu;

typedef struct nvml_library nvml_library;

// nvml_open loads the library. NULL: it isn't there or lacks what is needed in
// any case, and why says so in text that lives until the next call.
nvml_library *nvml_open(const char *path, const char **why);

// These give an nvmlReturn_t.
int nvml_init(nvml_library *l);
int nvml_shutdown(nvml_library *l);
int nvml_count(nvml_library *l, unsigned *count);
int nvml_read(nvml_library *l, unsigned index, nvml_gpu *out);

// nvml_text is an nvmlReturn_t in words, NULL without.
const char *nvml_text(nvml_library *l, int code);

#endif
