//go:build cgo && gocv

#include <gst/app/gstappsink.h>
#include <gst/gst.h>
#include <gst/video/video.h>
#include <string.h>
#include <time.h>

#include "_cgo_export.h"
#include "gst_gocv.h"

struct gst_pipe {
	uintptr_t go;         // of an RTSP camera, else 0
	GstElement *pipeline;
	GstAppSink *sink;
	uint64_t number;      // used by the sink's thread alone
	int live;

	// What follows is used by gst_pipe_pull and gst_pipe_fill alone.
	GstSample *sample;
	GstVideoInfo info;
	GstVideoConverter *convert; // to BGR, from info; NULL if it isn't made yet
};

static int64_t monotonic_ns(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * (int64_t)1000000000 + t.tv_nsec;
}

static char *message_of(GError *e) {
	char *text = e ? strdup(e->message) : strdup("GStreamer gives no reason");
	g_clear_error(&e);
	return text;
}

static _Atomic uintptr_t decoding; // the RTSP camera whose decoder is at work, 0 for none

// on_log hears what libav says of the picture that it decodes: nothing else tells
// that it has filled in for what it couldn't read.
static void on_log(GstDebugCategory *category, GstDebugLevel level, const gchar *file, const gchar *function,
	gint line, GObject *object, GstDebugMessage *message, gpointer data) {
	uintptr_t go = decoding;
	if (go && !strcmp(gst_debug_category_get_name(category), "libav"))
		gstComplain(go, (char *)gst_debug_message_get(message));
}

char *gst_start(void) {
	GError *e = NULL;
	if (!gst_init_check(NULL, NULL, &e))
		return message_of(e);
	if (!g_getenv("GST_DEBUG")) // nobody wants to read it all
		gst_debug_remove_log_function(gst_debug_log_default);
	gst_debug_set_active(TRUE);
	gst_debug_set_threshold_for_name("libav", GST_LEVEL_INFO);
	gst_debug_add_log_function(on_log, NULL, NULL);
	return NULL;
}

// on_end_buffer numbers what comes to the appsink and notes when, in fields that
// raw video doesn't use. Of an RTSP camera, only what is whole goes on.
static GstPadProbeReturn on_end_buffer(GstPad *pad, GstPadProbeInfo *info, gpointer data) {
	gst_pipe *p = data;
	GstBuffer *b = GST_PAD_PROBE_INFO_BUFFER(info);
	int corrupt = GST_BUFFER_FLAG_IS_SET(b, GST_BUFFER_FLAG_CORRUPTED);
	if (p->go && !gstShow(p->go, GST_BUFFER_PTS(b), corrupt))
		return GST_PAD_PROBE_DROP;
	b = gst_buffer_make_writable(b);
	GST_BUFFER_OFFSET(b) = ++p->number;
	GST_BUFFER_OFFSET_END(b) = monotonic_ns();
	GST_PAD_PROBE_INFO_DATA(info) = b;
	return GST_PAD_PROBE_OK;
}

// with makes the pipe of a pipeline whose appsink is found. It owns both.
static gst_pipe *with(uintptr_t go, GstElement *pipeline, GstAppSink *sink) {
	gst_pipe *p = g_new0(gst_pipe, 1);
	p->go = go;
	p->pipeline = pipeline;
	p->sink = sink;
	gst_video_info_init(&p->info);
	gst_app_sink_set_emit_signals(sink, FALSE);
	GstClock *clock = gst_system_clock_obtain(); // CLOCK_MONOTONIC, as all our stamps
	gst_pipeline_use_clock(GST_PIPELINE(pipeline), clock);
	gst_object_unref(clock);
	GstPad *pad = gst_element_get_static_pad(GST_ELEMENT(sink), "sink");
	gst_pad_add_probe(pad, GST_PAD_PROBE_TYPE_BUFFER, on_end_buffer, p, NULL);
	gst_object_unref(pad);
	return p;
}

// appsinks counts them, and keeps the last.
static int appsinks(GstElement *bin, GstAppSink **sink) {
	int n = 0;
	GValue v = G_VALUE_INIT;
	GstIterator *it = gst_bin_iterate_all_by_element_factory_name(GST_BIN(bin), "appsink");
	while (gst_iterator_next(it, &v) == GST_ITERATOR_OK) {
		if (n++)
			gst_object_unref(*sink);
		*sink = g_value_dup_object(&v);
		g_value_reset(&v);
	}
	g_value_unset(&v);
	gst_iterator_free(it);
	return n;
}

static GstElement *parse(const char *text, char **error) {
	GError *e = NULL;
	GstElement *pipeline = gst_parse_launch_full(text, NULL, GST_PARSE_FLAG_FATAL_ERRORS | GST_PARSE_FLAG_PLACE_IN_BIN, &e);
	if (e) {
		*error = message_of(e);
		g_clear_pointer(&pipeline, gst_object_unref);
	} else if (!GST_IS_PIPELINE(pipeline)) { // one element, or several in a bin
		GstElement *whole = gst_pipeline_new(NULL);
		gst_bin_add(GST_BIN(whole), pipeline);
		pipeline = whole;
	}
	return pipeline;
}

gst_pipe *gst_pipe_parse(const char *text, char **error) {
	GstAppSink *sink = NULL;
	GstElement *pipeline = parse(text, error);
	int n = pipeline ? appsinks(pipeline, &sink) : 0;
	if (n == 0) { // caps at the end are no pipeline by themselves, either
		char *longer = g_strconcat(text, " ! videoconvert ! video/x-raw,format=(string){BGR,GRAY8} ! appsink", NULL), *why = NULL;
		g_clear_object(&pipeline);
		pipeline = parse(longer, &why);
		g_free(longer);
		if (pipeline) {
			free(*error);
			n = appsinks(pipeline, &sink);
		} else if (*error) { // about the text as written
			free(why);
			return NULL;
		} else {
			*error = why;
			return NULL;
		}
	}
	if (n != 1) {
		g_clear_object(&sink);
		gst_object_unref(pipeline);
		*error = strdup("it must have one appsink");
		return NULL;
	}
	if (gst_app_sink_get_max_buffers(sink) == 0) { // the newest, unless the text asks for more
		gst_app_sink_set_max_buffers(sink, 1);
		gst_app_sink_set_drop(sink, TRUE);
	}
	return with(0, pipeline, sink);
}

// on_arrive sees packets as they come from the network.
static GstPadProbeReturn on_arrive(GstPad *pad, GstPadProbeInfo *info, gpointer data) {
	GstMapInfo m;
	if (gst_buffer_map(GST_PAD_PROBE_INFO_BUFFER(info), &m, GST_MAP_READ)) {
		gstArrive(((gst_pipe *)data)->go, m.data, m.size, monotonic_ns());
		gst_buffer_unmap(GST_PAD_PROBE_INFO_BUFFER(info), &m);
	}
	return GST_PAD_PROBE_OK;
}

// on_pass sees packets in order. From here on, a picture's stamp is the camera's
// own, by which it is found again behind the decoder.
static GstPadProbeReturn on_pass(GstPad *pad, GstPadProbeInfo *info, gpointer data) {
	GstBuffer *b = GST_PAD_PROBE_INFO_BUFFER(info);
	GstMapInfo m;
	int64_t stamp = -1;
	if (gst_buffer_map(b, &m, GST_MAP_READ)) {
		stamp = gstPass(((gst_pipe *)data)->go, m.data, m.size);
		gst_buffer_unmap(b, &m);
	}
	if (stamp < 0)
		return GST_PAD_PROBE_DROP;
	b = gst_buffer_make_writable(b);
	GST_BUFFER_PTS(b) = stamp;
	GST_BUFFER_DTS(b) = GST_CLOCK_TIME_NONE;
	GST_PAD_PROBE_INFO_DATA(info) = b;
	return GST_PAD_PROBE_OK;
}

// on_segment makes every stamp lie inside the stream, and keeps back what tells
// of lost packets on the old time line.
static GstPadProbeReturn on_segment(GstPad *pad, GstPadProbeInfo *info, gpointer data) {
	GstEvent *old = GST_PAD_PROBE_INFO_EVENT(info);
	GstSegment all;
	switch (GST_EVENT_TYPE(old)) {
	case GST_EVENT_SEGMENT:
		gst_segment_init(&all, GST_FORMAT_TIME);
		GstEvent *fresh = gst_event_new_segment(&all);
		gst_event_set_seqnum(fresh, gst_event_get_seqnum(old));
		gst_event_unref(old);
		GST_PAD_PROBE_INFO_DATA(info) = fresh;
		return GST_PAD_PROBE_OK;
	case GST_EVENT_GAP:
		return GST_PAD_PROBE_DROP;
	case GST_EVENT_CUSTOM_DOWNSTREAM:
		return gst_event_has_name(old, "GstRTPPacketLost") ? GST_PAD_PROBE_DROP : GST_PAD_PROBE_OK;
	default:
		return GST_PAD_PROBE_OK;
	}
}

// on_unit sees coded pictures on their way to the decoder.
static GstPadProbeReturn on_unit(GstPad *pad, GstPadProbeInfo *info, gpointer data) {
	return gstDecode(((gst_pipe *)data)->go, GST_BUFFER_PTS(GST_PAD_PROBE_INFO_BUFFER(info))) ? GST_PAD_PROBE_OK : GST_PAD_PROBE_DROP;
}

static void on_sync(GstElement *jitter, GstStructure *s, gpointer data) {
	GstBuffer *report = NULL;
	GstMapInfo m;
	if (!gst_structure_get(s, "sr-buffer", GST_TYPE_BUFFER, &report, NULL) || !report)
		return;
	if (gst_buffer_map(report, &m, GST_MAP_READ)) {
		gstReport(((gst_pipe *)data)->go, m.data, m.size);
		gst_buffer_unmap(report, &m);
	}
	gst_buffer_unref(report);
}

static void probe(GstElement *e, const char *name, GstPadProbeType type, GstPadProbeCallback f, gst_pipe *p) {
	GstPad *pad = gst_element_get_static_pad(e, name);
	if (!pad)
		return;
	gst_pad_add_probe(pad, type, f, p, NULL);
	gst_object_unref(pad);
}

static void on_jitterbuffer(GstElement *bin, GstElement *jitter, guint session, guint ssrc, gpointer data) {
	probe(jitter, "sink", GST_PAD_PROBE_TYPE_BUFFER, on_arrive, data);
	probe(jitter, "src", GST_PAD_PROBE_TYPE_BUFFER, on_pass, data);
	g_signal_connect(jitter, "handle-sync", G_CALLBACK(on_sync), data);
}

static void on_manager(GstElement *src, GstElement *manager, gpointer data) {
	g_signal_connect(manager, "new-jitterbuffer", G_CALLBACK(on_jitterbuffer), data);
}

// on_select takes the first video stream, and no sound.
static gboolean on_select(GstElement *src, guint n, GstCaps *caps, gpointer data) {
	const char *media = gst_structure_get_string(gst_caps_get_structure(caps, 0), "media");
	GstStructure *s = gst_caps_get_structure(caps, 0);
	int clock = 0;
	if (g_strcmp0(media, "video"))
		return FALSE;
	const char *name = gst_structure_get_string(s, "encoding-name"), *rate = gst_structure_get_string(s, "a-framerate");
	gst_structure_get_int(s, "clock-rate", &clock);
	return gstDescribe(((gst_pipe *)data)->go, (char *)(name ? name : ""), clock, (char *)(rate ? rate : ""));
}

// on_pad puts the decoder behind the camera's stream.
static void on_pad(GstElement *src, GstPad *pad, gpointer data) {
	gst_pipe *p = data;
	GError *e = NULL;
	char *text = gstChain(p->go);
	GstElement *chain = text ? gst_parse_bin_from_description(text, TRUE, &e) : NULL;
	free(text);
	if (e) {
		g_clear_object(&chain);
		gstMissing(p->go, e->message);
		g_clear_error(&e);
	}
	if (!chain)
		return;
	gst_bin_add(GST_BIN(p->pipeline), chain);
	GstElement *depay = gst_bin_get_by_name(GST_BIN(chain), "depay");
	probe(depay, "sink", GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM, on_segment, p);
	probe(depay, "src", GST_PAD_PROBE_TYPE_BUFFER, on_unit, p);
	gst_object_unref(depay);
	GstPad *in = gst_element_get_static_pad(chain, "sink");
	if (!gst_element_link(chain, GST_ELEMENT(p->sink)) || !gst_element_sync_state_with_parent(chain) ||
		GST_PAD_LINK_FAILED(gst_pad_link(pad, in)))
		GST_ELEMENT_ERROR(src, CORE, PAD, ("the stream doesn't fit its decoder"), (NULL));
	gst_object_unref(in);
}

gst_pipe *gst_pipe_rtsp(uintptr_t go, const char *location, const char *user, const char *password,
	int udp, unsigned latency, uint64_t timeout, char **error) {
	GstElement *src = gst_element_factory_make("rtspsrc", NULL), *sink = gst_element_factory_make("appsink", NULL);
	if (!src || !sink) {
		g_clear_object(&src);
		g_clear_object(&sink);
		*error = strdup("no element \"rtspsrc\"");
		return NULL;
	}
	g_object_set(src, "location", location, "latency", latency, "tcp-timeout", timeout, "timeout", timeout, NULL);
	gst_util_set_object_arg(G_OBJECT(src), "protocols", udp ? "udp" : "tcp");
	if (user)
		g_object_set(src, "user-id", user, "user-pw", password, NULL);
	g_object_set(sink, "sync", FALSE, "drop", TRUE, "max-buffers", 1, "qos", FALSE, NULL);
	GstCaps *raw = gst_caps_from_string("video/x-raw");
	gst_app_sink_set_caps(GST_APP_SINK(sink), raw);
	gst_caps_unref(raw);
	GstElement *pipeline = gst_pipeline_new(NULL);
	gst_bin_add_many(GST_BIN(pipeline), src, gst_object_ref(sink), NULL);
	gst_pipe *p = with(go, pipeline, GST_APP_SINK(sink));
	decoding = go;
	g_signal_connect(src, "new-manager", G_CALLBACK(on_manager), p);
	g_signal_connect(src, "select-stream", G_CALLBACK(on_select), p);
	g_signal_connect(src, "pad-added", G_CALLBACK(on_pad), p);
	return p;
}

void gst_pipe_play(gst_pipe *p) {
	// What it returns for an error is told on the bus, too.
	p->live = gst_element_set_state(p->pipeline, GST_STATE_PAUSED) == GST_STATE_CHANGE_NO_PREROLL;
	if (p->live)
		g_object_set(p->sink, "sync", FALSE, NULL);
	gst_element_set_state(p->pipeline, GST_STATE_PLAYING);
}

// stamp is a buffer's time on CLOCK_MONOTONIC, -1 if it has none.
static int64_t stamp(gst_pipe *p, GstBuffer *b) {
	GstSegment *seg = gst_sample_get_segment(p->sample);
	GstClockTime base = gst_element_get_base_time(p->pipeline), at;
	if (!p->live || !GST_BUFFER_PTS_IS_VALID(b) || seg->format != GST_FORMAT_TIME || !GST_CLOCK_TIME_IS_VALID(base))
		return -1;
	at = gst_segment_to_running_time(seg, GST_FORMAT_TIME, GST_BUFFER_PTS(b));
	return GST_CLOCK_TIME_IS_VALID(at) ? (int64_t)(base + at) : -1;
}

int gst_pipe_pull(gst_pipe *p, uint64_t wait, gst_shot *s) {
	GstSample *next = gst_app_sink_try_pull_sample(p->sink, wait);
	GstVideoInfo info;
	if (!next)
		return gst_app_sink_is_eos(p->sink) ? -1 : 0;
	g_clear_pointer(&p->sample, gst_sample_unref);
	p->sample = next;
	memset(s, 0, sizeof *s);
	GstCaps *caps = gst_sample_get_caps(next);
	if (!caps || !gst_video_info_from_caps(&info, caps)) {
		g_strlcpy(s->format, caps ? gst_structure_get_name(gst_caps_get_structure(caps, 0)) : "data", sizeof s->format);
		return 1;
	}
	if (!gst_video_info_is_equal(&info, &p->info)) {
		g_clear_pointer(&p->convert, gst_video_converter_free);
		p->info = info;
	}
	GstBuffer *b = gst_sample_get_buffer(next);
	g_strlcpy(s->format, gst_video_format_to_string(GST_VIDEO_INFO_FORMAT(&info)), sizeof s->format);
	s->width = GST_VIDEO_INFO_WIDTH(&info);
	s->height = GST_VIDEO_INFO_HEIGHT(&info);
	s->channels = GST_VIDEO_INFO_FORMAT(&info) == GST_VIDEO_FORMAT_GRAY8 ? 1 :
		GST_VIDEO_INFO_FORMAT(&info) == GST_VIDEO_FORMAT_BGR || p->go ? 3 : 0;
	s->rate = info.fps_d > 0 ? (double)info.fps_n / info.fps_d : 0;
	s->pts = GST_BUFFER_PTS_IS_VALID(b) ? (int64_t)GST_BUFFER_PTS(b) : -1;
	s->mono = stamp(p, b);
	s->number = GST_BUFFER_OFFSET(b);
	s->came = GST_BUFFER_OFFSET_END(b);
	return 1;
}

// rows copies one plane without the gaps between its rows.
static void rows(GstVideoFrame *f, char *to, int bytes) {
	const char *from = GST_VIDEO_FRAME_PLANE_DATA(f, 0);
	for (int y = 0; y < GST_VIDEO_FRAME_HEIGHT(f); y++)
		memcpy(to + (gsize)y * bytes, from + (gsize)y * GST_VIDEO_FRAME_PLANE_STRIDE(f, 0), bytes);
}

// converted writes any format as BGR.
static int converted(gst_pipe *p, GstVideoFrame *f, void *to, int bytes) {
	GstVideoInfo out;
	GstVideoFrame dst;
	gst_video_info_set_format(&out, GST_VIDEO_FORMAT_BGR, GST_VIDEO_FRAME_WIDTH(f), GST_VIDEO_FRAME_HEIGHT(f));
	out.fps_n = p->info.fps_n; // a converter wants both sides to agree on these
	out.fps_d = p->info.fps_d;
	out.interlace_mode = p->info.interlace_mode;
	out.stride[0] = bytes;
	out.size = (gsize)bytes * GST_VIDEO_FRAME_HEIGHT(f);
	if (!p->convert && !(p->convert = gst_video_converter_new(&p->info, &out, NULL)))
		return 0;
	GstBuffer *b = gst_buffer_new_wrapped_full(0, to, out.size, 0, out.size, NULL, NULL);
	int ok = gst_video_frame_map(&dst, &out, b, GST_MAP_WRITE | GST_VIDEO_FRAME_MAP_FLAG_NO_REF);
	if (ok) {
		gst_video_converter_frame(p->convert, f, &dst);
		gst_video_frame_unmap(&dst);
	}
	gst_buffer_unref(b);
	return ok;
}

int gst_pipe_fill(gst_pipe *p, void *to) {
	GstVideoFrame f;
	if (!p->sample || !gst_video_frame_map(&f, &p->info, gst_sample_get_buffer(p->sample), GST_MAP_READ))
		return 0;
	int ok = 1, width = GST_VIDEO_FRAME_WIDTH(&f);
	switch (GST_VIDEO_FRAME_FORMAT(&f)) {
	case GST_VIDEO_FORMAT_GRAY8:
		rows(&f, to, width);
		break;
	case GST_VIDEO_FORMAT_BGR:
		rows(&f, to, 3 * width);
		break;
	default:
		ok = converted(p, &f, to, 3 * width);
	}
	gst_video_frame_unmap(&f);
	return ok;
}

char *gst_pipe_trouble(gst_pipe *p, int *denied) {
	GstBus *bus = gst_element_get_bus(p->pipeline);
	GstMessage *m = gst_bus_pop_filtered(bus, GST_MESSAGE_ERROR);
	char *text = NULL;
	gst_object_unref(bus);
	if (!m)
		return NULL;
	GError *e = NULL;
	char *debug = NULL;
	gst_message_parse_error(m, &e, &debug);
	*denied = g_error_matches(e, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_NOT_AUTHORIZED);
	char *why = debug ? strrchr(debug, '\n') : NULL; // behind the place in GStreamer's source
	text = g_strdup_printf("%s: %s%s%s%s", GST_MESSAGE_SRC_NAME(m), e->message, why ? " (" : "", why ? why + 1 : "", why ? ")" : "");
	g_error_free(e);
	g_free(debug);
	gst_message_unref(m);
	return text;
}

void gst_pipe_close(gst_pipe *p) {
	gst_element_set_state(p->pipeline, GST_STATE_NULL);
	if (p->go)
		decoding = 0;
	g_clear_pointer(&p->sample, gst_sample_unref);
	g_clear_pointer(&p->convert, gst_video_converter_free);
	gst_object_unref(p->sink);
	gst_object_unref(p->pipeline);
	g_free(p);
}
