// What is asked of NVIDIA's libraries before ONNX Runtime uses them. They are opened
// at run time, so that neither the build nor a device without a GPU needs them.
#ifndef SIGHTLINE_GPU_H
#define SIGHTLINE_GPU_H

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

// Numbers are those of CUDA's driver interface (cuda.h).
enum { MAJOR = 75, MINOR = 76, NO_LIBRARY = -1, NO_SYMBOL = -2, NO_DEVICE = -3 };

typedef struct { char name[256]; char why[512]; int major, minor; } sightline_gpu;

static void sightline_why(sightline_gpu *g, const char *text) {
	if (text != NULL)
		strncpy(g->why, text, sizeof(g->why) - 1);
}

static int sightline_ask_gpu(sightline_gpu *g) {
	memset(g, 0, sizeof(*g));
	void *lib = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL);
	if (lib == NULL) {
		sightline_why(g, dlerror());
		return NO_LIBRARY;
	}
	int (*init)(unsigned) = dlsym(lib, "cuInit");
	int (*count)(int *) = dlsym(lib, "cuDeviceGetCount");
	int (*get)(int *, int) = dlsym(lib, "cuDeviceGet");
	int (*name)(char *, int, int) = dlsym(lib, "cuDeviceGetName");
	int (*attribute)(int *, int, int) = dlsym(lib, "cuDeviceGetAttribute");
	int (*words)(int, const char **) = dlsym(lib, "cuGetErrorString");
	if (init == NULL || count == NULL || get == NULL || name == NULL || attribute == NULL)
		return NO_SYMBOL;
	int n = 0, device = 0, err = init(0);
	if (err == 0)
		err = count(&n);
	if (err == 0 && n == 0)
		return NO_DEVICE;
	if (err == 0)
		err = get(&device, 0);
	if (err == 0)
		err = name(g->name, sizeof(g->name) - 1, device);
	if (err == 0)
		err = attribute(&g->major, MAJOR, device);
	if (err == 0)
		err = attribute(&g->minor, MINOR, device);
	const char *text = NULL;
	if (err != 0 && words != NULL && words(err, &text) == 0)
		sightline_why(g, text);
	return err;
}

static char *sightline_loadable(const char *name) {
	if (dlopen(name, RTLD_LAZY | RTLD_LOCAL) != NULL)
		return NULL;
	const char *why = dlerror();
	return strdup(why != NULL ? why : "no reason given");
}

static int sightline_infer_version(const char *name) {
	void *lib = dlopen(name, RTLD_LAZY | RTLD_LOCAL);
	if (lib == NULL)
		return 0;
	int (*version)(void) = dlsym(lib, "getInferLibVersion");
	return version == NULL ? 0 : version();
}

#endif
