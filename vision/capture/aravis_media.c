//go:build cgo && (media || gocv)

// libaravis-0.8 by dlopen: neither the build nor a machine without industrial
// cameras needs it. The prototypes are those of its documentation, with opaque
// pointers; a gboolean, a gint and an enum are ints, a GError is as below.

#include "aravis_media.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
	uint32_t domain;
	int code;
	char *message;
} gerror;

#define FUNCTIONS(F) \
	F(void, g_error_free, (gerror *)) \
	F(void, g_object_unref, (void *)) \
	F(void, g_free, (void *)) \
	F(void, arv_update_device_list, (void)) \
	F(unsigned, arv_get_n_devices, (void)) \
	F(const char *, arv_get_device_id, (unsigned)) \
	F(const char *, arv_get_device_physical_id, (unsigned)) \
	F(const char *, arv_get_device_address, (unsigned)) \
	F(const char *, arv_get_device_vendor, (unsigned)) \
	F(const char *, arv_get_device_model, (unsigned)) \
	F(const char *, arv_get_device_serial_nbr, (unsigned)) \
	F(const char *, arv_get_device_protocol, (unsigned)) \
	F(void *, arv_camera_new, (const char *, gerror **)) \
	F(void *, arv_camera_get_device, (void *)) \
	F(int, arv_camera_is_gv_device, (void *)) \
	F(int, arv_gv_device_is_controller, (void *)) \
	F(int, arv_gv_device_take_control, (void *, gerror **)) \
	F(void, arv_camera_gv_set_packet_size_adjustment, (void *, int)) \
	F(void, arv_camera_gv_set_stream_options, (void *, int)) \
	F(int, arv_camera_is_feature_available, (void *, const char *, gerror **)) \
	F(const char **, arv_camera_dup_available_enumerations_as_strings, (void *, const char *, unsigned *, gerror **)) \
	F(void, arv_camera_set_string, (void *, const char *, const char *, gerror **)) \
	F(int64_t, arv_camera_get_integer, (void *, const char *, gerror **)) \
	F(void, arv_camera_get_integer_bounds, (void *, const char *, int64_t *, int64_t *, gerror **)) \
	F(int64_t, arv_camera_get_integer_increment, (void *, const char *, gerror **)) \
	F(void, arv_camera_set_integer, (void *, const char *, int64_t, gerror **)) \
	F(int, arv_camera_is_frame_rate_available, (void *, gerror **)) \
	F(void, arv_camera_get_frame_rate_bounds, (void *, double *, double *, gerror **)) \
	F(double, arv_camera_get_frame_rate, (void *, gerror **)) \
	F(void, arv_camera_set_frame_rate, (void *, double, gerror **)) \
	F(int, arv_camera_is_exposure_time_available, (void *, gerror **)) \
	F(int, arv_camera_is_exposure_auto_available, (void *, gerror **)) \
	F(void, arv_camera_set_exposure_time_auto, (void *, int, gerror **)) \
	F(void, arv_camera_get_exposure_time_bounds, (void *, double *, double *, gerror **)) \
	F(double, arv_camera_get_exposure_time, (void *, gerror **)) \
	F(void, arv_camera_set_exposure_time, (void *, double, gerror **)) \
	F(int, arv_camera_is_gain_available, (void *, gerror **)) \
	F(int, arv_camera_is_gain_auto_available, (void *, gerror **)) \
	F(void, arv_camera_set_gain_auto, (void *, int, gerror **)) \
	F(void, arv_camera_get_gain_bounds, (void *, double *, double *, gerror **)) \
	F(double, arv_camera_get_gain, (void *, gerror **)) \
	F(void, arv_camera_set_gain, (void *, double, gerror **)) \
	F(void, arv_camera_set_trigger, (void *, const char *, gerror **)) \
	F(void, arv_camera_clear_triggers, (void *, gerror **)) \
	F(int, arv_camera_is_software_trigger_supported, (void *, gerror **)) \
	F(void, arv_camera_software_trigger, (void *, gerror **)) \
	F(void, arv_camera_set_acquisition_mode, (void *, int, gerror **)) \
	F(unsigned, arv_camera_get_payload, (void *, gerror **)) \
	F(void *, arv_camera_create_stream, (void *, void *, void *, gerror **)) \
	F(void, arv_camera_start_acquisition, (void *, gerror **)) \
	F(void, arv_camera_stop_acquisition, (void *, gerror **)) \
	F(void, arv_stream_push_buffer, (void *, void *)) \
	F(void *, arv_stream_try_pop_buffer, (void *)) \
	F(void *, arv_stream_timeout_pop_buffer, (void *, uint64_t)) \
	F(void, arv_stream_get_statistics, (void *, uint64_t *, uint64_t *, uint64_t *)) \
	F(void *, arv_buffer_new, (size_t, void *)) \
	F(int, arv_buffer_get_status, (void *)) \
	F(int, arv_buffer_get_payload_type, (void *)) \
	F(uint64_t, arv_buffer_get_frame_id, (void *)) \
	F(uint64_t, arv_buffer_get_timestamp, (void *)) \
	F(uint64_t, arv_buffer_get_system_timestamp, (void *)) \
	F(uint32_t, arv_buffer_get_image_pixel_format, (void *)) \
	F(int, arv_buffer_get_image_width, (void *)) \
	F(int, arv_buffer_get_image_height, (void *)) \
	F(const void *, arv_buffer_get_data, (void *, size_t *)) \
	F(int, arv_device_read_register, (void *, uint64_t, uint32_t *, gerror **))

// Since 0.8.24 or so; Ubuntu 22.04 has 0.8.20.
#define LATER_FUNCTIONS(F) \
	F(const void *, arv_buffer_get_image_data, (void *, size_t *)) \
	F(void, arv_buffer_get_image_padding, (void *, int *, int *))

#define MEMBER(result, name, args) result(*name) args;
static struct {
	FUNCTIONS(MEMBER)
	LATER_FUNCTIONS(MEMBER)
} lib;

char *sl_load(void)
{
	static void *handle;
	if (handle != NULL)
		return NULL;
	void *h = dlopen("libaravis-0.8.so.0", RTLD_NOW | RTLD_LOCAL);
	if (h == NULL)
		return strdup(dlerror());
	const char *missing = NULL;
	// dlsym gives objects; POSIX wants it to hold functions as well.
#define LOAD(result, name, args) *(void **)&lib.name = dlsym(h, #name);
#define NEED(result, name, args) LOAD(result, name, args) if (lib.name == NULL) missing = #name;
	FUNCTIONS(NEED)
	LATER_FUNCTIONS(LOAD)
	if (missing != NULL) {
		char text[200];
		snprintf(text, sizeof text, "libaravis-0.8.so.0 has no %s", missing);
		dlclose(h);
		return strdup(text);
	}
	handle = h;
	return NULL;
}

// told makes a message of an error and frees it.
static char *told(gerror *e)
{
	if (e == NULL)
		return NULL;
	char *text = strdup(e->message != NULL ? e->message : "unknown error");
	lib.g_error_free(e);
	return text;
}

// YES asks a question whose error means no; TELL does what may fail.
#define YES(call) { gerror *e = NULL; int r = lib.call; free(told(e)); return r; }
#define TELL(call) { gerror *e = NULL; lib.call; return told(e); }

void sl_look(void) { lib.arv_update_device_list(); }
unsigned sl_found(void) { return lib.arv_get_n_devices(); }

const char *sl_found_text(unsigned i, int what)
{
	switch (what) {
	case SL_ID: return lib.arv_get_device_id(i);
	case SL_PHYSICAL: return lib.arv_get_device_physical_id(i);
	case SL_ADDRESS: return lib.arv_get_device_address(i);
	case SL_VENDOR: return lib.arv_get_device_vendor(i);
	case SL_MODEL: return lib.arv_get_device_model(i);
	case SL_SERIAL: return lib.arv_get_device_serial_nbr(i);
	}
	return lib.arv_get_device_protocol(i);
}

char *sl_open(const char *name, sl_camera *c)
{
	gerror *e = NULL;
	memset(c, 0, sizeof *c);
	c->camera = lib.arv_camera_new(name, &e);
	if (c->camera == NULL)
		return e != NULL ? told(e) : strdup("no reason given");
	free(told(e));
	c->device = lib.arv_camera_get_device(c->camera);
	c->gige = lib.arv_camera_is_gv_device(c->camera);
	return NULL;
}

int sl_controls(const sl_camera *c) { return !c->gige || lib.arv_gv_device_is_controller(c->device); }
char *sl_take_control(const sl_camera *c) TELL(arv_gv_device_take_control(c->device, &e))

void sl_halt(const sl_camera *c) { lib.arv_camera_stop_acquisition(c->camera, NULL); }

void sl_close(sl_camera *c)
{
	if (c->stream != NULL) {
		sl_halt(c);
		lib.g_object_unref(c->stream);
	}
	if (c->camera != NULL)
		lib.g_object_unref(c->camera);
	memset(c, 0, sizeof *c);
}

int sl_has(const sl_camera *c, const char *feature) YES(arv_camera_is_feature_available(c->camera, feature, &e))

// sl_entries gives what a choice offers, one a line.
char *sl_entries(const sl_camera *c, const char *feature, char **joined)
{
	gerror *e = NULL;
	unsigned n = 0;
	const char **names = lib.arv_camera_dup_available_enumerations_as_strings(c->camera, feature, &n, &e);
	if (e != NULL)
		return told(e);
	size_t size = 1;
	for (unsigned i = 0; i < n; i++)
		size += strlen(names[i]) + 1;
	char *at = *joined = malloc(size);
	for (unsigned i = 0; i < n; i++)
		at += sprintf(at, "%s\n", names[i]);
	*at = 0;
	lib.g_free((void *)names);
	return NULL;
}

char *sl_set_text(const sl_camera *c, const char *feature, const char *value) TELL(arv_camera_set_string(c->camera, feature, value, &e))
char *sl_set_integer(const sl_camera *c, const char *feature, int64_t value) TELL(arv_camera_set_integer(c->camera, feature, value, &e))

char *sl_get_integer(const sl_camera *c, const char *feature, int64_t *value)
{
	gerror *e = NULL;
	*value = lib.arv_camera_get_integer(c->camera, feature, &e);
	return told(e);
}

char *sl_integer_bounds(const sl_camera *c, const char *feature, int64_t *min, int64_t *max, int64_t *step)
{
	gerror *e = NULL;
	lib.arv_camera_get_integer_bounds(c->camera, feature, min, max, &e);
	if (e == NULL)
		*step = lib.arv_camera_get_integer_increment(c->camera, feature, &e);
	return told(e);
}

int sl_can(const sl_camera *c, int what)
{
	switch (what) {
	case SL_RATE: YES(arv_camera_is_frame_rate_available(c->camera, &e))
	case SL_EXPOSURE: YES(arv_camera_is_exposure_time_available(c->camera, &e))
	}
	YES(arv_camera_is_gain_available(c->camera, &e))
}

char *sl_bounds(const sl_camera *c, int what, double *min, double *max)
{
	switch (what) {
	case SL_RATE: TELL(arv_camera_get_frame_rate_bounds(c->camera, min, max, &e))
	case SL_EXPOSURE: TELL(arv_camera_get_exposure_time_bounds(c->camera, min, max, &e))
	}
	TELL(arv_camera_get_gain_bounds(c->camera, min, max, &e))
}

char *sl_get(const sl_camera *c, int what, double *value)
{
	gerror *e = NULL;
	switch (what) {
	case SL_RATE: *value = lib.arv_camera_get_frame_rate(c->camera, &e); break;
	case SL_EXPOSURE: *value = lib.arv_camera_get_exposure_time(c->camera, &e); break;
	default: *value = lib.arv_camera_get_gain(c->camera, &e);
	}
	return told(e);
}

// sl_set also ends what the camera sets by itself.
char *sl_set(const sl_camera *c, int what, double value)
{
	enum { OFF = 0 }; // ArvAuto
	gerror *e = NULL;
	switch (what) {
	case SL_RATE:
		lib.arv_camera_set_frame_rate(c->camera, value, &e);
		break;
	case SL_EXPOSURE:
		if (lib.arv_camera_is_exposure_auto_available(c->camera, NULL))
			lib.arv_camera_set_exposure_time_auto(c->camera, OFF, &e);
		if (e == NULL)
			lib.arv_camera_set_exposure_time(c->camera, value, &e);
		break;
	default:
		if (lib.arv_camera_is_gain_auto_available(c->camera, NULL))
			lib.arv_camera_set_gain_auto(c->camera, OFF, &e);
		if (e == NULL)
			lib.arv_camera_set_gain(c->camera, value, &e);
	}
	return told(e);
}

char *sl_set_trigger(const sl_camera *c, const char *source) TELL(arv_camera_set_trigger(c->camera, source, &e))
void sl_clear_triggers(const sl_camera *c) { lib.arv_camera_clear_triggers(c->camera, NULL); }
int sl_can_fire(const sl_camera *c) YES(arv_camera_is_software_trigger_supported(c->camera, &e))
char *sl_fire(const sl_camera *c) TELL(arv_camera_software_trigger(c->camera, &e))

char *sl_payload(const sl_camera *c, size_t *bytes)
{
	gerror *e = NULL;
	*bytes = lib.arv_camera_get_payload(c->camera, &e);
	return told(e);
}

char *sl_start(sl_camera *c, size_t payload, int buffers)
{
	enum { CONTINUOUS = 0, ADJUST_ONCE = 3, NO_PACKET_SOCKET = 1 }; // ArvAcquisitionMode, ArvGvPacketSizeAdjustment, ArvGvStreamOption
	gerror *e = NULL;
	if (c->gige) {
		lib.arv_camera_gv_set_packet_size_adjustment(c->camera, ADJUST_ONCE);
		// Root would get a packet socket, which on a busy machine may deliver nothing for good;
		// the agent's own user hasn't the right to one.
		lib.arv_camera_gv_set_stream_options(c->camera, NO_PACKET_SOCKET);
	}
	lib.arv_camera_set_acquisition_mode(c->camera, CONTINUOUS, NULL); // some cameras know no other
	c->stream = lib.arv_camera_create_stream(c->camera, NULL, NULL, &e);
	if (c->stream == NULL)
		return e != NULL ? told(e) : strdup("no stream");
	for (int i = 0; i < buffers; i++)
		lib.arv_stream_push_buffer(c->stream, lib.arv_buffer_new(payload, NULL));
	lib.arv_camera_start_acquisition(c->camera, &e);
	return told(e);
}

// sl_next waits for a buffer, or looks for one if the timeout is 0. 0 means none.
int sl_next(const sl_camera *c, uint64_t timeout_us, sl_buffer *b)
{
	enum { SUCCESS = 0, IMAGE = 1, EXTENDED_CHUNK_DATA = 5 };
	memset(b, 0, sizeof *b);
	void *p = timeout_us > 0 ? lib.arv_stream_timeout_pop_buffer(c->stream, timeout_us)
				 : lib.arv_stream_try_pop_buffer(c->stream);
	if (p == NULL)
		return 0;
	b->buffer = p;
	b->status = lib.arv_buffer_get_status(p);
	b->id = lib.arv_buffer_get_frame_id(p);
	if (b->status != SUCCESS)
		return 1;
	b->payload = lib.arv_buffer_get_payload_type(p);
	if (b->payload != IMAGE && b->payload != EXTENDED_CHUNK_DATA)
		return 1;
	b->stamp = lib.arv_buffer_get_timestamp(p);
	b->arrived = lib.arv_buffer_get_system_timestamp(p);
	b->format = lib.arv_buffer_get_image_pixel_format(p);
	b->width = lib.arv_buffer_get_image_width(p);
	b->height = lib.arv_buffer_get_image_height(p);
	int ignored;
	if (lib.arv_buffer_get_image_padding != NULL)
		lib.arv_buffer_get_image_padding(p, &b->padding, &ignored);
	b->data = (lib.arv_buffer_get_image_data != NULL ? lib.arv_buffer_get_image_data : lib.arv_buffer_get_data)(p, &b->size);
	return 1;
}

void sl_give_back(const sl_camera *c, const sl_buffer *b) { lib.arv_stream_push_buffer(c->stream, b->buffer); }

uint64_t sl_underruns(const sl_camera *c)
{
	uint64_t done, failed, underruns = 0;
	lib.arv_stream_get_statistics(c->stream, &done, &failed, &underruns);
	return underruns;
}

char *sl_read_register(const sl_camera *c, uint64_t address, uint32_t *value) TELL(arv_device_read_register(c->device, address, value, &e))
