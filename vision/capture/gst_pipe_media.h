// What the two halves of the binding share: gst_media.c is any pipeline,
// rtsp_media.c what an RTSP camera needs besides.
#pragma once

#include <gst/app/gstappsink.h>
#include <gst/gst.h>
#include <gst/video/video.h>

#include "gst_media.h"

// first is when the first packet of a picture came.
struct first {
	uint32_t time; // the packet's stamp
	int64_t at;
};

#define FIRSTS 256 // pictures in the jitter buffer

struct gst_pipe {
	uintptr_t go;         // of an RTSP camera, else 0
	GstElement *pipeline;
	GstAppSink *sink;
	int live;
	int h265, clock;      // what the stream is: set before its first packet
	int fragments;        // its NAL units may be cut into several packets

	GMutex mutex;         // protects what follows
	struct first firsts[FIRSTS];
	unsigned came;        // of them
	GArray *outs;         // gst_out, what came to the appsink since the last pull
	GByteArray *heads;    // gst_head, packets that Go hasn't looked at: calls into Go cost more than packets do
	_Atomic int trust;    // pictures may be decoded as long as no packet is missing

	// What follows is used by the thread alone that packets, pictures and decoder
	// share behind the jitter buffer.
	uint64_t number;      // of pictures at the appsink
	uint32_t time;        // of the last packet
	uint16_t seq, plain;  // plain: how many weren't worth a look since the last that was
	int64_t ticks, stamp; // the stamp unrolled, and in ns
	int gap;              // packets are missing since the last picture
	int64_t feeding;      // stamp of the picture that the decoder was given last
	int middle;           // the last packet was inside a NAL unit,
	uint8_t part[3];      // under these headers

	// What follows is used by gst_pipe_pull and gst_pipe_fill alone.
	GstSample *sample;
	GstVideoInfo info;
	GstVideoConverter *convert; // to BGR, from info; NULL if it isn't made yet
};

// monotonic_ns is CLOCK_MONOTONIC.
int64_t monotonic_ns(void);

// gst_pipe_with makes the pipe of a pipeline whose appsink is found. It owns both.
gst_pipe *gst_pipe_with(uintptr_t go, GstElement *pipeline, GstAppSink *sink);

// gst_hear makes libav's complaints heard, once; gst_decoding says about whose
// decoder they are, NULL for none.
void gst_hear(void);
void gst_decoding(gst_pipe *p);
