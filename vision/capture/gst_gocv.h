// One GStreamer pipeline, as package capture needs it. See gst_gocv.go.
#pragma once

#include <stdint.h>

typedef struct gst_pipe gst_pipe;

// What gst_pipe_pull found. Times are ns; -1 where there is none.
typedef struct {
	int width, height, channels; // channels is 0 for formats that can't be taken
	char format[32];
	double rate;       // frames a second, announced; 0 if it isn't
	int64_t pts;       // the buffer's, as it is
	int64_t mono;      // the same on CLOCK_MONOTONIC, for live pipelines
	int64_t came;      // CLOCK_MONOTONIC at the end of the pipeline
	uint64_t number;   // counts what came there, from 1
} gst_shot;

// gst_start makes GStreamer ready. It returns an error to be freed, or NULL.
char *gst_start(void);

// gst_pipe_parse makes a pipeline of a text. Where it ends in no appsink, one is
// added behind a conversion to BGR or GRAY8. NULL with *error to be freed.
gst_pipe *gst_pipe_parse(const char *text, char **error);

// gst_pipe_rtsp makes a pipeline that reads an RTSP camera. go is handed to the
// exported functions. Times are µs but for latency, ms.
gst_pipe *gst_pipe_rtsp(uintptr_t go, const char *location, const char *user, const char *password,
	int udp, unsigned latency, uint64_t timeout, char **error);

// gst_pipe_play starts it.
void gst_pipe_play(gst_pipe *p);

// gst_pipe_pull waits at most so many ns for the next picture: 1, 0 for none, -1
// when the stream is over.
int gst_pipe_pull(gst_pipe *p, uint64_t wait, gst_shot *s);

// gst_pipe_fill writes the pulled picture, in BGR or gray, without gaps between
// rows, to memory of at least width*height*channels bytes. It returns 0 if it can't.
int gst_pipe_fill(gst_pipe *p, void *to);

// gst_pipe_trouble is the next error that an element told, to be freed, or NULL.
// *denied is set for a wrong password.
char *gst_pipe_trouble(gst_pipe *p, int *denied);

// gst_pipe_close ends it and frees everything. It may hang as long as elements do.
void gst_pipe_close(gst_pipe *p);
