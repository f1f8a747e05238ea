// One GStreamer pipeline, as package capture needs it. See gst_media.go.
#pragma once

#include <stdint.h>

typedef struct gst_pipe gst_pipe;

// A picture that came to the end of the pipeline.
typedef struct {
	uint64_t number;   // counts what came there, from 1
	int64_t pts;       // ns; -1 without
	int corrupt;       // an element marked it so
} gst_out;

#define GST_OUTS 8

// What gst_pipe_pull found. Times are ns; -1 where there is none.
typedef struct {
	int width, height, channels; // channels is 0 for formats that can't be taken
	char format[32];
	double rate;       // frames a second, announced; 0 if it isn't
	int64_t pts;       // the buffer's, as it is
	int64_t mono;      // the same on CLOCK_MONOTONIC, for live pipelines
	int64_t came;      // CLOCK_MONOTONIC at the end of the pipeline
	uint64_t number;   // counts what came there, from 1
	int filled;        // it was written to the memory that pull was given
	int outs;          // how many came since the last pull, this one included; GST_OUTS if there may be more
	gst_out out[GST_OUTS];
} gst_shot;

// A packet for Go to look at; its bytes follow, without a gap. One of no bytes
// says that the picture of that stamp went to the decoder.
typedef struct {
	int64_t stamp;     // of its picture, ns
	int64_t arrival;   // of its picture's first packet; 0 where that was said, -1 if it isn't known
	uint32_t size;     // bytes
	uint32_t plain;    // packets before it that nothing is to be seen of
} gst_head;

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
// when the stream is over. It is written to memory of size bytes, as by
// gst_pipe_fill, if that is just what it needs; to may be NULL. One call does it
// all, because each costs.
int gst_pipe_pull(gst_pipe *p, uint64_t wait, void *to, uint64_t size, gst_shot *s);

// gst_pipe_outs takes out what came up to a number, at most room of it.
int gst_pipe_outs(gst_pipe *p, uint64_t upto, gst_out *to, int room);

// gst_pipe_heads takes out whole packets, at most room bytes of them; it returns
// how many bytes they take.
uint64_t gst_pipe_heads(gst_pipe *p, void *to, uint64_t room);

// gst_pipe_doubt makes it ask about every picture again, until the answer trusts.
void gst_pipe_doubt(gst_pipe *p);

// gst_pipe_fill writes the pulled picture, in BGR or gray, without gaps between
// rows, to memory of at least width*height*channels bytes. It returns 0 if it can't.
int gst_pipe_fill(gst_pipe *p, void *to);

// gst_pipe_trouble is the next error that an element told, to be freed, or NULL.
// *denied is set for a wrong password.
char *gst_pipe_trouble(gst_pipe *p, int *denied);

// gst_pipe_close ends it and frees everything. It may hang as long as elements do.
void gst_pipe_close(gst_pipe *p);
