//go:build cgo && (media || gocv)

#include <stdlib.h>
#include <string.h>

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/avstring.h>
#include <libavutil/common.h>
#include <libavutil/display.h>
#include <libswscale/swscale.h>

#include "film_media.h"

#define LARGE (1 << 20) // pixels, from which on one thread decodes too slowly
#define ALIGN 64        // bytes of rows that swscale writes to without a look at their ends
#define GIVE_UP 4096    // packets in a row that give no picture

struct film {
	AVFormatContext *in;
	AVCodecContext *codec;
	AVPacket *packet;
	AVFrame *frame;
	AVStream *stream;
	struct SwsContext *convert;
	uint8_t *wide;     // a picture with rows of a length that swscale likes
	size_t wide_size;
	int drained;       // the file has been read to its end
};

static int rotation(AVStream *s) {
	const uint8_t *matrix = NULL;
#if LIBAVFORMAT_VERSION_MAJOR >= 61
	const AVPacketSideData *d = av_packet_side_data_get(s->codecpar->coded_side_data, s->codecpar->nb_coded_side_data, AV_PKT_DATA_DISPLAYMATRIX);
	if (d)
		matrix = d->data;
#else
	matrix = av_stream_get_side_data(s, AV_PKT_DATA_DISPLAYMATRIX, NULL);
#endif
	if (!matrix)
		return 0;
	int turn = (int)(-av_display_rotation_get((const int32_t *)matrix) + 720.5) % 360;
	return turn % 90 == 0 ? turn : 0;
}

static void describe(film *f, film_info *info) {
	AVCodecParameters *p = f->stream->codecpar;
	memset(info, 0, sizeof *info);
	info->width = p->width;
	info->height = p->height;
	info->rotate = rotation(f->stream);
	AVRational rate = av_guess_frame_rate(f->in, f->stream, NULL);
	if (rate.num > 0 && rate.den > 0)
		info->rate = av_q2d(rate);
	info->frames = f->stream->nb_frames;
	if (info->frames <= 0 && f->in->duration > 0)
		info->frames = info->rate * f->in->duration / AV_TIME_BASE;
	for (int n = 0; n < 4; n++) {
		char c = p->codec_tag >> 8 * n & 0xff;
		if (c < ' ' || c > '~') { // a tag that isn't in letters
			strncpy(info->codec, avcodec_get_name(p->codec_id), sizeof info->codec - 1);
			break;
		}
		info->codec[n] = c;
	}
}

// decoder makes the decoder of the file's video.
static int decoder(film *f, int threads) {
	if (avformat_find_stream_info(f->in, NULL) < 0)
		return 0;
	const AVCodec *c = NULL;
	int n = av_find_best_stream(f->in, AVMEDIA_TYPE_VIDEO, -1, -1, NULL, 0);
	if (n < 0)
		return 0;
	f->stream = f->in->streams[n];
	for (unsigned i = 0; i < f->in->nb_streams; i++) // sound is never put together
		if (i != (unsigned)n)
			f->in->streams[i]->discard = AVDISCARD_ALL;
	AVCodecParameters *p = f->stream->codecpar;
	if (!(c = avcodec_find_decoder(p->codec_id)) || !(f->codec = avcodec_alloc_context3(c)) || avcodec_parameters_to_context(f->codec, p) < 0)
		return 0;
	f->codec->thread_count = (int64_t)p->width * p->height > LARGE ? threads : 1;
	f->codec->pkt_timebase = f->stream->time_base;
	return avcodec_open2(f->codec, c, NULL) >= 0;
}

film *film_open(const char *path, int threads, film_info *info) {
	av_log_set_level(AV_LOG_QUIET);
	film *f = calloc(1, sizeof *f);
	char *url = av_asprintf("file:%s", path); // a file's name is no address
	AVDictionary *only = NULL;                // nor does a list in it lead off this machine
	av_dict_set(&only, "protocol_whitelist", "file", 0);
	int ok = f && url && avformat_open_input(&f->in, url, NULL, &only) >= 0 && decoder(f, threads) &&
		(f->packet = av_packet_alloc()) && (f->frame = av_frame_alloc());
	av_dict_free(&only);
	av_free(url);
	if (!ok) {
		if (f)
			film_close(f);
		return NULL;
	}
	describe(f, info);
	return f;
}

// feed gives the decoder the next packet of the video, or the end of the file.
static void feed(film *f) {
	int e = av_read_frame(f->in, f->packet);
	if (e == AVERROR(EAGAIN))
		return;
	if (e < 0) {
		f->drained = 1;
		avcodec_send_packet(f->codec, NULL);
		return;
	}
	if (f->packet->stream_index == f->stream->index)
		avcodec_send_packet(f->codec, f->packet); // damaged ones are refused, and passed over
	av_packet_unref(f->packet);
}

int film_next(film *f, film_shot *s) {
	for (int n = 0; n < GIVE_UP; n++) {
		int e = avcodec_receive_frame(f->codec, f->frame);
		if (e == AVERROR_EOF)
			return 0;
		if (e < 0) {
			if (!f->drained)
				feed(f);
			continue;
		}
		s->width = f->frame->width;
		s->height = f->frame->height;
		int64_t at = f->frame->best_effort_timestamp, start = f->stream->start_time;
		s->at = -1;
		if (at != AV_NOPTS_VALUE)
			s->at = av_rescale_q(av_sat_sub64(at, start == AV_NOPTS_VALUE ? 0 : start), f->stream->time_base, (AVRational){1, 1000000000});
		return 1;
	}
	return -1;
}

int film_fill(film *f, void *to) {
	AVFrame *p = f->frame;
	int w = p->width, h = p->height, row = 3 * w, stride = (row + 2 * ALIGN - 1) & -ALIGN;
	f->convert = sws_getCachedContext(f->convert, w, h, p->format, w, h, AV_PIX_FMT_BGR24, SWS_BICUBIC, NULL, NULL, NULL);
	if (!f->convert)
		return 0;
	uint8_t *out = to;
	if (row % ALIGN == 0 && (uintptr_t)to % ALIGN == 0)
		stride = row;
	else {
		size_t size = (size_t)stride * h;
		if (f->wide_size < size) {
			av_freep(&f->wide);
			f->wide_size = 0;
			if (!(f->wide = av_malloc(size)))
				return 0;
			f->wide_size = size;
		}
		out = f->wide;
	}
	int strides[4] = {stride};
	uint8_t *planes[4] = {out};
	if (sws_scale(f->convert, (const uint8_t *const *)p->data, p->linesize, 0, h, planes, strides) != h)
		return 0;
	for (int y = 0; out != to && y < h; y++)
		memcpy((uint8_t *)to + (size_t)y * row, out + (size_t)y * stride, row);
	return 1;
}

void film_close(film *f) {
	sws_freeContext(f->convert);
	av_freep(&f->wide);
	av_frame_free(&f->frame);
	av_packet_free(&f->packet);
	avcodec_free_context(&f->codec);
	avformat_close_input(&f->in);
	free(f);
}
