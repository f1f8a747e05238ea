//go:build cgo && (media || gocv)

#include <string.h>
#include <time.h>

#include "gst_pipe_media.h"

int64_t monotonic_ns(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * (int64_t)1000000000 + t.tv_nsec;
}

static char *message_of(GError *e) {
	char *text = e ? strdup(e->message) : strdup("GStreamer gives no reason");
	g_clear_error(&e);
	return text;
}

char *gst_start(void) {
	GError *e = NULL;
	if (!gst_init_check(NULL, NULL, &e))
		return message_of(e);
	gst_hear();
	return NULL;
}

// on_end_buffer numbers what comes to the appsink and notes when, in fields that
// raw video doesn't use.
static GstPadProbeReturn on_end_buffer(GstPad *pad, GstPadProbeInfo *info, gpointer data) {
	gst_pipe *p = data;
	GstBuffer *b = gst_buffer_make_writable(GST_PAD_PROBE_INFO_BUFFER(info));
	gst_out out = {++p->number, GST_BUFFER_PTS_IS_VALID(b) ? (int64_t)GST_BUFFER_PTS(b) : -1,
		GST_BUFFER_FLAG_IS_SET(b, GST_BUFFER_FLAG_CORRUPTED)};
	GST_BUFFER_OFFSET(b) = p->number;
	GST_BUFFER_OFFSET_END(b) = monotonic_ns();
	GST_PAD_PROBE_INFO_DATA(info) = b;
	g_mutex_lock(&p->mutex);
	g_array_append_val(p->outs, out);
	g_mutex_unlock(&p->mutex);
	return GST_PAD_PROBE_OK;
}

int gst_pipe_outs(gst_pipe *p, uint64_t upto, gst_out *to, int room) {
	g_mutex_lock(&p->mutex);
	int n = 0;
	while (n < room && n < (int)p->outs->len && g_array_index(p->outs, gst_out, n).number <= upto) {
		to[n] = g_array_index(p->outs, gst_out, n);
		n++;
	}
	g_array_remove_range(p->outs, 0, n);
	g_mutex_unlock(&p->mutex);
	return n;
}

gst_pipe *gst_pipe_with(uintptr_t go, GstElement *pipeline, GstAppSink *sink) {
	gst_pipe *p = g_new0(gst_pipe, 1);
	p->go = go;
	p->pipeline = pipeline;
	p->sink = sink;
	p->outs = g_array_new(FALSE, FALSE, sizeof(gst_out));
	p->heads = g_byte_array_new();
	g_mutex_init(&p->mutex);
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
	return gst_pipe_with(0, pipeline, sink);
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

int gst_pipe_pull(gst_pipe *p, uint64_t wait, void *to, uint64_t size, gst_shot *s) {
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
	s->outs = gst_pipe_outs(p, s->number, s->out, GST_OUTS);
	s->filled = to && size == (uint64_t)s->width * s->height * s->channels && gst_pipe_fill(p, to);
	return 1;
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
		gst_decoding(NULL);
	g_clear_pointer(&p->sample, gst_sample_unref);
	g_clear_pointer(&p->convert, gst_video_converter_free);
	gst_object_unref(p->sink);
	gst_object_unref(p->pipeline);
	g_array_free(p->outs, TRUE);
	g_byte_array_free(p->heads, TRUE);
	g_mutex_clear(&p->mutex);
	g_free(p);
}
