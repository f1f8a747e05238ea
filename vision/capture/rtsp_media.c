//go:build cgo && (media || gocv)

#include <string.h>

#include "_cgo_export.h"
#include "gst_pipe_media.h"

static gst_pipe *_Atomic decoding; // the RTSP camera whose decoder is at work

// on_log hears what libav says of the picture that it decodes: nothing else tells
// that it has filled in for what it couldn't read.
static void on_log(GstDebugCategory *category, GstDebugLevel level, const gchar *file, const gchar *function,
	gint line, GObject *object, GstDebugMessage *message, gpointer data) {
	gst_pipe *p = decoding;
	if (p && !strcmp(gst_debug_category_get_name(category), "libav"))
		gstComplain(p->go, p, p->feeding, (char *)gst_debug_message_get(message));
}

void gst_decoding(gst_pipe *p) { decoding = p; }

void gst_hear(void) {
	if (!g_getenv("GST_DEBUG")) // nobody wants to read it all
		gst_debug_remove_log_function(gst_debug_log_default);
	gst_debug_set_active(TRUE);
	gst_debug_set_threshold_for_name("libav", GST_LEVEL_INFO);
	gst_debug_add_log_function(on_log, NULL, NULL);
}

// rtp_time reads a packet's stamp, rtp_seq its number.
static uint32_t rtp_time(const uint8_t *b) { return (uint32_t)b[4] << 24 | b[5] << 16 | b[6] << 8 | b[7]; }
static uint16_t rtp_seq(const uint8_t *b) { return b[2] << 8 | b[3]; }

// on_arrive sees packets as they come from the network. The first of each picture counts.
static GstPadProbeReturn on_arrive(GstPad *pad, GstPadProbeInfo *info, gpointer data) {
	gst_pipe *p = data;
	uint8_t b[12];
	if (gst_buffer_extract(GST_PAD_PROBE_INFO_BUFFER(info), 0, b, sizeof b) < sizeof b)
		return GST_PAD_PROBE_OK;
	struct first f = {rtp_time(b), monotonic_ns()};
	g_mutex_lock(&p->mutex);
	unsigned i, lately = MIN(p->came, 8); // packets of one picture come close together
	for (i = 1; i <= lately && p->firsts[(p->came - i) % FIRSTS].time != f.time; i++)
		;
	if (i > lately)
		p->firsts[p->came++ % FIRSTS] = f;
	g_mutex_unlock(&p->mutex);
	return GST_PAD_PROBE_OK;
}

// arrival of the first packet with a stamp, -1 if it isn't known.
static int64_t arrival(gst_pipe *p, uint32_t time) {
	int64_t at = -1;
	g_mutex_lock(&p->mutex);
	for (unsigned i = 1; i <= MIN(p->came, FIRSTS) && at < 0; i++)
		if (p->firsts[(p->came - i) % FIRSTS].time == time)
			at = p->firsts[(p->came - i) % FIRSTS].at;
	g_mutex_unlock(&p->mutex);
	return at;
}

// keep puts a packet, or no bytes for a picture that was decoded, where Go finds it.
static void keep(gst_pipe *p, gst_head head, const uint8_t *b) {
	g_mutex_lock(&p->mutex);
	g_byte_array_append(p->heads, (const guint8 *)&head, sizeof head);
	g_byte_array_append(p->heads, b, head.size);
	g_mutex_unlock(&p->mutex);
}

uint64_t gst_pipe_heads(gst_pipe *p, void *to, uint64_t room) {
	uint64_t n = 0;
	gst_head head;
	g_mutex_lock(&p->mutex);
	while (n < p->heads->len) {
		memcpy(&head, p->heads->data + n, sizeof head);
		if (n + sizeof head + head.size > room)
			break;
		n += sizeof head + head.size;
	}
	memcpy(to, p->heads->data, n);
	g_byte_array_remove_range(p->heads, 0, n);
	g_mutex_unlock(&p->mutex);
	return n;
}

void gst_pipe_doubt(gst_pipe *p) { p->trust = 0; }

// plain tells whether a packet is the very next one, and inside the same NAL unit
// as the last: neither its start nor its end, with the same headers, and nothing
// else that would have to be read.
static int plain(const gst_pipe *p, const uint8_t *b, gsize n) {
	int flags = p->h265 ? 14 : 13;
	return p->middle && n > 15 && b[0] == 0x80 && !(b[1] & 0x80) && rtp_time(b) == p->time &&
		rtp_seq(b) == (uint16_t)(p->seq + 1) && !(b[flags] & 0xc0) &&
		b[12] == p->part[0] && b[13] == p->part[1] && (!p->h265 || b[14] == p->part[2]);
}

// look keeps a packet for Go, and remembers whether plain ones may follow.
static void look(gst_pipe *p, const uint8_t *b, gsize n) {
	gst_head head = {p->stamp, rtp_time(b) == p->time && p->ticks ? 0 : arrival(p, rtp_time(b)), n, p->plain};
	keep(p, head, b);
	p->plain = 0;
	int fragment = n > 15 && b[0] == 0x80 && (p->h265 ? b[12] >> 1 == 49 && !(b[14] & 0x40) : (b[12] & 0x9f) == 28 && !(b[13] & 0x40));
	p->middle = fragment && !(b[1] & 0x80) && p->fragments;
	if (p->middle) {
		p->part[0] = b[12];
		p->part[1] = p->h265 ? b[13] : b[13] & 0x3f;
		p->part[2] = b[14] & 0x3f;
	}
}

// on_pass sees packets in order. From here on, a picture's stamp is the camera's
// own, by which it is found again behind the decoder; it begins far enough from 0
// to go back.
static GstPadProbeReturn on_pass(GstPad *pad, GstPadProbeInfo *info, gpointer data) {
	const int64_t begin = (int64_t)1 << 33;
	gst_pipe *p = data;
	GstBuffer *b = GST_PAD_PROBE_INFO_BUFFER(info);
	GstMapInfo m;
	if (!gst_buffer_map(b, &m, GST_MAP_READ))
		return GST_PAD_PROBE_DROP;
	if (m.size < 12 || p->clock <= 0) {
		gst_buffer_unmap(b, &m);
		return GST_PAD_PROBE_DROP;
	}
	uint32_t time = rtp_time(m.data);
	int64_t ticks = !p->ticks ? begin + time : p->ticks + (int32_t)(time - p->time);
	if (ticks < begin / 2)
		ticks += begin;
	p->stamp = ticks / p->clock * 1000000000 + ticks % p->clock * 1000000000 / p->clock;
	if (plain(p, m.data, m.size))
		p->plain++;
	else
		look(p, m.data, m.size);
	p->gap |= p->ticks && rtp_seq(m.data) != (uint16_t)(p->seq + 1);
	p->ticks = ticks;
	p->time = time;
	p->seq = rtp_seq(m.data);
	gst_buffer_unmap(b, &m);
	if (p->heads->len > 1 << 18) // nobody looks at them
		gstDecode(p->go, p, -1);
	b = gst_buffer_make_writable(b);
	GST_BUFFER_PTS(b) = p->stamp;
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

// on_unit sees coded pictures on their way to the decoder. Go is asked only when
// something is amiss, and looks at the rest when it takes the next picture.
static GstPadProbeReturn on_unit(GstPad *pad, GstPadProbeInfo *info, gpointer data) {
	gst_pipe *p = data;
	int64_t stamp = GST_BUFFER_PTS(GST_PAD_PROBE_INFO_BUFFER(info));
	if (p->trust && !p->gap) {
		gst_head head = {stamp, 0, 0, 0};
		keep(p, head, NULL);
		p->feeding = stamp;
		return GST_PAD_PROBE_OK;
	}
	int answer = gstDecode(p->go, p, stamp);
	p->gap = 0;
	p->trust = answer & 2;
	if (!(answer & 1))
		return GST_PAD_PROBE_DROP;
	p->feeding = stamp;
	return GST_PAD_PROBE_OK;
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
	gst_pipe *p = data;
	GstStructure *s = gst_caps_get_structure(caps, 0);
	int clock = 0;
	if (g_strcmp0(gst_structure_get_string(s, "media"), "video"))
		return FALSE;
	const char *name = gst_structure_get_string(s, "encoding-name"), *rate = gst_structure_get_string(s, "a-framerate");
	gst_structure_get_int(s, "clock-rate", &clock);
	if (!gstDescribe(p->go, (char *)(name ? name : ""), clock, (char *)(rate ? rate : "")))
		return FALSE;
	p->h265 = !g_ascii_strcasecmp(name, "H265");
	p->fragments = p->h265 || !g_ascii_strcasecmp(name, "H264");
	p->clock = clock;
	return TRUE;
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
	gst_pipe *p = gst_pipe_with(go, pipeline, GST_APP_SINK(sink));
	gst_decoding(p);
	g_signal_connect(src, "new-manager", G_CALLBACK(on_manager), p);
	g_signal_connect(src, "select-stream", G_CALLBACK(on_select), p);
	g_signal_connect(src, "pad-added", G_CALLBACK(on_pad), p);
	return p;
}
