//go:build cgo && gocv

// What sightline-capture uses of libaravis-0.8, loaded at run time. Functions
// that can fail give a message for people, which the caller frees, or NULL.

#ifndef SIGHTLINE_ARAVIS_H
#define SIGHTLINE_ARAVIS_H

#include <stddef.h>
#include <stdint.h>

// An open camera. The pointers are GObjects that belong to this struct; device
// is the camera's own.
typedef struct {
	void *camera, *device, *stream;
	int gige; // GigE Vision, else USB3 Vision
} sl_camera;

// A buffer that the stream has filled, or tried to. It goes back with
// sl_give_back; data is valid until then.
typedef struct {
	void *buffer;
	int status, payload;
	int width, height, padding; // pixels; bytes at the end of each row
	uint32_t format;            // PFNC
	uint64_t id, stamp, arrived; // of the frame; ns by the camera's clock; ns of CLOCK_REALTIME, 0 if unknown
	const void *data;
	size_t size;
} sl_buffer;

enum { SL_ID, SL_PHYSICAL, SL_ADDRESS, SL_VENDOR, SL_MODEL, SL_SERIAL, SL_PROTOCOL };

char *sl_load(void);

void sl_look(void);
unsigned sl_found(void);
const char *sl_found_text(unsigned i, int what);

char *sl_open(const char *name, sl_camera *c);
int sl_controls(const sl_camera *c);
char *sl_take_control(const sl_camera *c);
void sl_halt(const sl_camera *c);
void sl_close(sl_camera *c);

int sl_has(const sl_camera *c, const char *feature);
char *sl_entries(const sl_camera *c, const char *feature, char **joined);
char *sl_set_text(const sl_camera *c, const char *feature, const char *value);
char *sl_get_integer(const sl_camera *c, const char *feature, int64_t *value);
char *sl_integer_bounds(const sl_camera *c, const char *feature, int64_t *min, int64_t *max, int64_t *step);
char *sl_set_integer(const sl_camera *c, const char *feature, int64_t value);

// The settings whose feature has a different name from camera to camera.
enum { SL_RATE, SL_EXPOSURE, SL_GAIN };
int sl_can(const sl_camera *c, int what);
char *sl_bounds(const sl_camera *c, int what, double *min, double *max);
char *sl_get(const sl_camera *c, int what, double *value);
char *sl_set(const sl_camera *c, int what, double value);

char *sl_set_trigger(const sl_camera *c, const char *source);
void sl_clear_triggers(const sl_camera *c);
int sl_can_fire(const sl_camera *c);
char *sl_fire(const sl_camera *c);

char *sl_payload(const sl_camera *c, size_t *bytes);
char *sl_start(sl_camera *c, size_t payload, int buffers);
int sl_next(const sl_camera *c, uint64_t timeout_us, sl_buffer *b);
void sl_give_back(const sl_camera *c, const sl_buffer *b);
uint64_t sl_underruns(const sl_camera *c);
char *sl_read_register(const sl_camera *c, uint64_t address, uint32_t *value);

#endif
